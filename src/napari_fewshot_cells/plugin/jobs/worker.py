"""Runs a job in a worker thread and hands its events to the GUI thread.

Other parts of the window own a `Runner`, or call `threads.run_function`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from threading import Event
from typing import Any
from weakref import WeakSet

from qtpy.QtCore import QObject, QTimer, Signal, Slot

from ...base.errors import FewShotError
from ...base.progress import Progress
from ..layers.add_layer import FRAME
from .threads import job_pool, new_worker, round_pool, start, wait_for

LONGEST_HANDOVER = 1.0  # s; a job waits at most so long until the GUI has shown an event
BUNDLE_INTERVAL = 0.1  # s; steps within it are handed over together, because each handover costs time
WAITING = Progress("waiting for other work", 0, 1, 0.0)  # while another Runner has its turn

AnyJob = Generator[object, None, None]


@dataclass(frozen=True)
class Done:
    """The job ran to its end."""


@dataclass(frozen=True)
class Cancelled:
    """The job was stopped between two steps."""


@dataclass(frozen=True)
class Refused:
    """The user's input cannot be used; `message` says why."""

    message: str


@dataclass(frozen=True, eq=False)
class Failed:
    """A fault of the program."""

    error: Exception


Outcome = Done | Cancelled | Refused | Failed


def _guarded(
    shown: Event, job: Callable[..., AnyJob], *args: Any, **kwargs: Any
) -> Generator[tuple[object, ...], None, Outcome]:
    # Faults are returned, not raised. superqt swallows a RuntimeError of a generator without a signal, so the
    # panel would stay busy for ever. A RuntimeError is what PyTorch raises most often.
    try:
        with closing(job(*args, **kwargs)) as events:
            for bundle in _bundled(events):
                shown.clear()
                yield bundle
                if not isinstance(bundle[-1], Progress):
                    # The GUI now makes or draws a layer. It is done sooner if the job leaves it the
                    # processor, and it is idle when the next event comes.
                    shown.wait(LONGEST_HANDOVER)
    except FewShotError as error:
        return Refused(str(error))
    except Exception as error:
        return Failed(error)
    return Done()


def _bundled(events: Iterable[object]) -> Iterator[tuple[object, ...]]:
    """Bundle the events of quick steps, in order. An event that is not `Progress` ends its bundle."""
    held: list[object] = []
    stage, handed = "", 0.0
    for event in events:
        held.append(event)
        if isinstance(event, Progress):
            now = time.monotonic()
            if event.stage == stage and event.done < event.total and now - handed < BUNDLE_INTERVAL:
                continue
            stage, handed = event.stage, now
        yield tuple(held)
        held.clear()
    if held:
        yield tuple(held)


_turn_takers: WeakSet[Runner] = WeakSet()


class Runner(QObject):
    """Runs one job at a time in a thread; every signal arrives in the GUI thread.

    Parameters
    ----------
    parent : QObject, optional
    takes_turns : bool
        Share one thread with all Runners that take turns. If another's job runs, this one's waits, and emits
        `WAITING`.

    Signals
    -------
    happened
        An event of the job.
    ended
        The `Outcome` of the job.
    """

    happened = Signal(object)
    ended = Signal(object)

    def __init__(self, parent: QObject | None = None, *, takes_turns: bool = False) -> None:
        super().__init__(parent)
        self._pool = round_pool() if takes_turns else job_pool()
        if takes_turns:
            _turn_takers.add(self)
        self._worker: Any = None
        self._begun = False
        self._shown = Event()
        self._outcome: Outcome = Cancelled()

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self._worker is not None

    def start(self, job: Callable[..., AnyJob], *args: Any, **kwargs: Any) -> None:
        """Start a job; `happened` emits its events, `ended` its outcome."""
        if self._worker is not None:
            raise RuntimeError("a job is running")
        waits = self in _turn_takers and any(other.busy for other in _turn_takers)
        self._outcome = Cancelled()  # if the job returns no other
        self._begun = False
        self._shown = Event()
        self._worker = new_worker(_guarded, self._shown, job, *args, **kwargs)
        for signal, slot in self._slots(self._worker):
            signal.connect(slot)
        if waits:
            self.happened.emit(WAITING)
        start(self._worker, self._pool)

    def cancel(self) -> None:
        """Stop the job after the current step, or at once if it still waits for its turn."""
        if self._worker is None:
            return
        self._worker.quit()
        if not self._begun:
            QTimer.singleShot(0, self._give_up)

    def stop(self) -> None:
        """Stop the job, disconnect its signals and wait for its thread, as the panel closes."""
        worker = self._let_go()
        if worker is not None:
            wait_for([worker])

    def _slots(self, worker: Any) -> tuple[tuple[Any, Callable[..., None]], ...]:
        return (
            (worker.started, self._on_started),
            (worker.yielded, self._on_yielded),
            (worker.returned, self._on_returned),
            (worker.finished, self._on_finished),
        )

    def _let_go(self) -> Any:
        """Disconnect the job and let it end; returns its worker, or None if none runs."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.quit()
            for signal, slot in self._slots(worker):
                signal.disconnect(slot)
        return worker

    @Slot()
    def _give_up(self) -> None:
        # Its turn may have passed meanwhile, and the next job may have started
        if self._worker is not None and self._worker.abort_requested and not self._begun:
            self._let_go()
            self.ended.emit(Cancelled())

    @Slot()
    def _on_started(self) -> None:
        self._begun = True

    @Slot(object)
    def _on_yielded(self, bundle: tuple[object, ...]) -> None:
        for event in bundle:
            if self._worker is not None and not self._worker.abort_requested:
                self.happened.emit(event)
        QTimer.singleShot(FRAME, self._shown.set)

    @Slot(object)
    def _on_returned(self, outcome: Outcome) -> None:
        self._outcome = outcome

    @Slot()
    def _on_finished(self) -> None:
        # Not `aborted`: a quit during the last step emits neither `aborted` nor `returned`.
        if self._worker is not None:
            self._worker = None
            self.ended.emit(self._outcome)
