"""The command ``napari-fewshot``: does what the panel does, on files.

This module imports neither torch nor scikit-image, so ``--help`` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ..base.host_process import keep_freed_memory
from ..base.version import __version__
from .console import run
from .evaluate import evaluate
from .finetune import finetune
from .models import models_app
from .predict import predict

app = typer.Typer(
    name="napari-fewshot",
    help="Few-shot cell segmentation on files: fine-tune on a few annotated images, then predict.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(finetune)
app.command()(predict)
app.command()(evaluate)
app.add_typer(models_app, name="models")


@app.callback(invoke_without_command=True)
def napari_fewshot(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Show the version, or the help if no command is given."""
    if version:
        typer.echo(f"napari-fewshot-cells {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Console entry point. Exit codes: 0 done, 1 partly done, 2 wrong input or usage, 130 stopped."""
    keep_freed_memory()
    run(app, "napari-fewshot")
