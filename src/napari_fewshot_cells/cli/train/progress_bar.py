"""What a training shows on the command line: how far it is, its loss, the time that is left."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import typer

from ..console import STOPPED

if TYPE_CHECKING:
    from ...models.model import Model
    from ...training.budget import Budget


class TrainingProgress(Protocol):
    """Where a run is."""

    @property
    def iteration(self) -> int:
        """The one going on or just done."""

    @property
    def seconds(self) -> float:
        """Trained so far."""


Event = TypeVar("Event", bound=TrainingProgress)


def show_training(
    steps: Generator[Event, None, Model],
    budget: Budget,
    out: Path,
    title: str,
    describe: Callable[[Event], str],
) -> None:
    """Run with a progress bar; what is left on screen says where the model is.

    Ctrl-C closes the run, which keeps its checkpoint, and ends the command with 130. Of several ranks the
    first alone shows anything.

    Parameters
    ----------
    steps : generator
    budget : Budget
    out : Path
        Folder of the run.
    title : str
        Shown until the first event.
    describe : callable
        What to show of an event.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from ...training.ranks import is_first_rank

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's end is a Ctrl-C
    console = Console(stderr=True, quiet=not is_first_rank())
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as bar:
            row = bar.add_task(title, total=1.0)
            for event in steps:
                share = min(1.0, budget.share(event.iteration, event.seconds))
                bar.update(row, description=describe(event), completed=share)
    except KeyboardInterrupt:
        steps.close()
        console.print(
            f"Stopped; the last complete iteration is in {out}. The same command goes on from there."
        )
        raise typer.Exit(STOPPED) from None
    if is_first_rank():
        typer.echo(out / "model.safetensors")
