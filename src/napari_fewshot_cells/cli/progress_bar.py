"""A progress bar on stderr for any generator of `Progress`."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ..base.progress import Progress

T = TypeVar("T")


def with_bar(steps: Generator[Progress, None, T], title: str, *, seconds: float | None = None) -> T:
    """Run a generator to its end behind a bar with stage, loss and remaining time; return its value.

    The bar disappears at the end, and is not shown if stderr is no terminal: only messages stay on stderr.

    Parameters
    ----------
    steps : generator of Progress
        Closed at the end, also after an interruption.
    title : str
    seconds : float, optional
        Length of the fine-tuning, if time and not the number of steps ends it.
    """
    from rich import progress as rich
    from rich.console import Console

    console = Console(stderr=True)
    bar = rich.Progress(
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(bar_width=None),
        rich.TextColumn("{task.fields[note]}", markup=False),
        rich.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        expand=True,
    )
    with bar:
        task = bar.add_task(title, total=None, note="")
        try:
            while True:
                try:
                    event = next(steps)
                except StopIteration as end:
                    value: T = end.value
                    return value
                by_time = seconds is not None and event.stage == "fine-tuning"
                bar.update(
                    task,
                    description=f"{title}: {event.stage}",
                    completed=event.elapsed if by_time else event.done,
                    total=seconds if by_time else event.total,
                    note="" if event.loss is None else f"step {event.done}, loss {event.loss:.3f}",
                )
        finally:
            steps.close()
