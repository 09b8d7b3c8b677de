"""The command ``napari-fewshot-train``: gets the source sets and trains on them."""

from __future__ import annotations

import typer

from ...base.host_process import keep_all_freed_memory
from ..console import run
from .config_file import configure
from .contacts import contacts
from .data import data
from .evaluate import evaluate
from .meta import meta
from .protocol import protocol
from .report import report
from .transfer import transfer

app = typer.Typer(
    name="napari-fewshot-train",
    help="Meta-train few-shot segmentation networks on the five source sets.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.callback()(configure)
app.command()(data)
app.command()(meta)
app.command()(evaluate)
app.command()(transfer)
app.command()(contacts)
app.command()(protocol)
app.command()(report)


def main() -> None:
    """Console entry point. Exit codes: 0 done, 1 partly done, 2 wrong input or usage, 130 stopped."""
    keep_all_freed_memory()
    run(app, "napari-fewshot-train")
