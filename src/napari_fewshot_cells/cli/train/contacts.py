"""``napari-fewshot-train contacts``: teaches a start where cells touch."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...base.atomic_files import make_writable, writing
from ...base.errors import DataError
from ..choices import Target
from ..console import one_line_errors, stoppable
from .evaluate import start_file
from .progress_bar import behind_bar

if TYPE_CHECKING:
    from ...training.contacts import ContactProgress

_MINUTES = 2.0


@one_line_errors()
@stoppable("no model was written.")
def contacts(
    start: Annotated[
        str,
        typer.Argument(
            metavar="START", help="The start: folder of a run, model file, or name in the library."
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE.safetensors", help="The new start; its card goes beside it.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with <set>/{images,masks}/NAME.png (default: the downloaded sets)."),
    ] = None,
    target: Annotated[Target, typer.Option(help="Source set to leave out.")] = Target.none,
    sources: Annotated[
        list[str] | None,
        typer.Option(help="Source of your own: DIR or NAME=DIR, with images/ and masks/; repeatable."),
    ] = None,
    licences: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help='Licences of your sources, for the card: NAME = {licence = "...", citation = "..."}.',
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0, help=f"Stop after this many minutes (default: {_MINUTES:g}, unless --steps is given)."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after this many Adam steps.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads (default: all).")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of images and crops.")] = 0,
) -> None:
    """Teach a start where cells touch, on sets that number touching cells. Its foreground stays the same.

    Of the five sets, only B39 is used. Ctrl-C writes nothing.
    """
    if out.suffix != ".safetensors":
        raise DataError(f"'{out}' must end in .safetensors; its card goes beside it, as .json.")
    file = start_file(start)
    from ...datasets.own_sets import choose_touching_sources

    chosen = choose_touching_sources(data, target.value, sources or [], licences)
    make_writable(out.parent)
    import torch
    from rich.console import Console

    from ...models.model_file import read_model, write_model
    from ...training.budget import Budget
    from ...training.config import ContactConfig
    from ...training.contacts import contact_train

    if threads is not None:
        torch.set_num_threads(threads)
    budget = Budget(steps, _MINUTES if steps is None and minutes is None else minutes)
    command = shlex.join(["napari-fewshot-train", *sys.argv[1:]])
    run = contact_train(read_model(file), chosen, ContactConfig(seed=seed), budget, command=command)
    model = behind_bar(run, budget, "reading the sets", _describe, Console(stderr=True))
    with writing(out):
        typer.echo(write_model(model.renamed(out.stem), out))


def _describe(event: ContactProgress) -> str:
    return f"step {event.iteration}  contact loss {event.loss:.3f}"
