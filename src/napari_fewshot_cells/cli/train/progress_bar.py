"""What a training shows on the command line: its progress, its loss, the remaining time."""

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
    """How far a run is."""

    @property
    def iteration(self) -> int:
        """The iteration in progress, or the last one done."""

    @property
    def seconds(self) -> float:
        """Time trained so far."""


Event = TypeVar("Event", bound=TrainingProgress)


def show_training(
    steps: Generator[Event, None, Model],
    budget: Budget,
    out: Path,
    title: str,
    describe: Callable[[Event], str],
) -> None:
    """Run a training behind a progress bar, then print the path of its model.

    Ctrl-C closes the run, which keeps its checkpoint, and ends the command with 130. Of several ranks, only
    the first prints.

    Parameters
    ----------
    steps : generator
    budget : Budget
    out : Path
        Folder of the run.
    title : str
        Shown until the first event.
    describe : callable
        Gives the text to show for an event.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from ...training.ranks import is_first_rank

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems stop a job by SIGTERM
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
        console.print(f"Stopped; the last complete iteration is in {out}. Run the same command to resume.")
        raise typer.Exit(STOPPED) from None
    if is_first_rank():
        typer.echo(out / "model.safetensors")
