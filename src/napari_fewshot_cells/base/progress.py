"""Progress of long work: a generator of small frozen events."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

Step = TypeVar("Step")
Passed = TypeVar("Passed")
T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """One step of long work.

    Attributes
    ----------
    stage : str
        What is being done, in a word for the user: "outlining", "fine-tuning", "calibrating",
        "refining", "predicting".
    done, total : int
        Steps done, and steps planned, in this stage.
    elapsed : float
        Seconds since the stage began.
    loss : float or None
        Training loss of this step; None if the step does not train.
    """

    stage: str
    done: int
    total: int
    elapsed: float
    loss: float | None = None

    @property
    def remaining(self) -> float | None:
        """Seconds until this stage ends, at its speed so far; None before its first step is done."""
        if self.done == 0:
            return None
        return self.elapsed / self.done * (self.total - self.done)


def finish(steps: Generator[object, None, T]) -> T:
    """Run a generator of progress events to its end, and return its value."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value


def relay(steps: Generator[Step, None, T], rename: Callable[[Step], Passed]) -> Generator[Passed, None, T]:
    """Pass on the steps of a generator under another name or scale, to be used with ``yield from``.

    Parameters
    ----------
    steps : generator
        Closed with this one, and if `rename` fails.
    rename : callable
        Takes a step and returns what is yielded in its place.

    Returns
    -------
    object
        What `steps` returns.
    """
    with closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                value: T = end.value
                return value
            yield rename(step)
