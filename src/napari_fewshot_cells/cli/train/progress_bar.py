"""What a training shows on the command line: its progress, its loss, the remaining time."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import typer

from ...base.progress import finish, relay
from ..console import STOPPED

if TYPE_CHECKING:
    from rich.console import Console

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

    from ...training.ranks import is_first_rank

    console = Console(stderr=True, quiet=not is_first_rank())
    try:
        behind_bar(steps, budget, title, describe, console)
    except KeyboardInterrupt:
        steps.close()
        console.print(f"Stopped; the last complete iteration is in {out}. Run the same command to resume.")
        raise typer.Exit(STOPPED) from None
    if is_first_rank():
        typer.echo(out / "model.safetensors")


def behind_bar(
    steps: Generator[Event, None, Model],
    budget: Budget,
    title: str,
    describe: Callable[[Event], str],
    console: Console,
) -> Model:
    """Run a training behind a progress bar and return its model; SIGTERM counts as Ctrl-C.

    Parameters
    ----------
    steps, budget, title, describe
        As in `show_training`.
    console : rich.console.Console
        Shows the bar.

    Raises
    ------
    KeyboardInterrupt
        As the run was interrupted.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems stop a job by SIGTERM
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        row = bar.add_task(title, total=1.0)

        def show(event: Event) -> None:
            share = min(1.0, budget.share(event.iteration, event.seconds))
            bar.update(row, description=describe(event), completed=share)

        return finish(relay(steps, show))
