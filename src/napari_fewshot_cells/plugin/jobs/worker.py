"""Runs a job in a worker thread and hands its events to the main thread.

The only file that starts threads: other parts of the window call `run_function` or own a `Runner`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from threading import Event
from typing import Any
from weakref import WeakSet

from qtpy.QtCore import QCoreApplication, QObject, QThreadPool, QTimer, Signal, Slot
from superqt.utils import WorkerBase, create_worker

from ...base.errors import FewShotError
from ...base.progress import Progress
from ..layers.add_layer import FRAME

LONGEST_HANDOVER = 1.0  # s that a job waits for the window to show an event
LONGEST_WAIT = 5.0  # s that closing the panel waits for the step that is under way
MOST_FUNCTIONS = 32  # at once: none waits for the long ones, such as saving a project
BETWEEN = 0.1  # s for which steps of a stage are gathered: to hand over and draw each costs the job time
WAITING = Progress("waiting for other work", 0, 1, 0.0)  # of a job whose turn has not come

AnyJob = Generator[object, None, None]


@dataclass(frozen=True)
class Done:
    """The job came to its end."""


@dataclass(frozen=True)
class Cancelled:
    """The job was stopped between two steps."""


@dataclass(frozen=True)
class Refused:
    """Something that the user gave cannot be used."""

    message: str


@dataclass(frozen=True, eq=False)
class Failed:
    """A fault of ours."""

    error: Exception


Outcome = Done | Cancelled | Refused | Failed


def _guarded(
    shown: Event, job: Callable[..., AnyJob], *args: Any, **kwargs: Any
) -> Generator[tuple[object, ...], None, Outcome]:
    # Faults travel as values: superqt swallows a RuntimeError that a generator raises, PyTorch's commonest
    # kind, without a signal, and would leave the panel busy for ever.
    try:
        with closing(job(*args, **kwargs)) as events:
            for bundle in _bundled(events):
                shown.clear()
                yield bundle
                if not isinstance(bundle[-1], Progress):
                    # The window makes or draws a layer now: soon done if it need not share the processor,
                    # and the next event finds it at rest.
                    shown.wait(LONGEST_HANDOVER)
    except FewShotError as error:
        return Refused(str(error))
    except Exception as error:
        return Failed(error)
    return Done()


def _bundled(events: Iterable[object]) -> Iterator[tuple[object, ...]]:
    """All events in order, those of quick steps together; what is no step is the last of its bundle."""
    held: list[object] = []
    stage, handed = "", 0.0
    for event in events:
        held.append(event)
        if isinstance(event, Progress):
            now = time.monotonic()
            if event.stage == stage and event.done < event.total and now - handed < BETWEEN:
                continue
            stage, handed = event.stage, now
        yield tuple(held)
        held.clear()
    if held:
        yield tuple(held)


_started: dict[int, WorkerBase[Any]] = {}  # by identity; Qt does not keep them alive


def _ending() -> QThreadPool:
    """Threads that end with their work.

    Each thread that used PyTorch owns an OpenMP team, and Qt's own pool keeps a thread half a minute after
    its work. Two teams outnumber the cores, and training takes 1.5x as long: end threads with their work. See
    also `host_process.limit_openmp_spinning`.
    """
    pool = QThreadPool()
    pool.setExpiryTimeout(0)
    return pool


@lru_cache(maxsize=1)
def _for_jobs() -> QThreadPool:
    return _ending()


@lru_cache(maxsize=1)
def _for_functions() -> QThreadPool:
    """Threads of `run_function`; what they write when napari quits is written to its end."""
    pool = _ending()
    pool.setMaxThreadCount(MOST_FUNCTIONS)
    application = QCoreApplication.instance()
    if application is not None:
        application.aboutToQuit.connect(partial(pool.waitForDone, -1))
    return pool


@lru_cache(maxsize=1)
def _for_rounds() -> QThreadPool:
    """One thread for all rounds: what it frees is there for the next, another would begin with none of it."""
    pool = QThreadPool()
    pool.setMaxThreadCount(1)
    pool.setExpiryTimeout(-1)
    return pool


def _start(worker: WorkerBase[Any], pool: QThreadPool) -> None:
    """Start a worker that was made with ``_start_thread=False``."""
    _started[id(worker)] = worker
    worker.finished.connect(partial(_started.pop, id(worker), None))
    pool.start(worker)


def run_function(
    function: Callable[..., Any],
    *args: Any,
    then: Callable[[Any], None],
    failed: Callable[[Any], None],
    **kwargs: Any,
) -> WorkerBase[Any]:
    """Run a function in a thread; `then` gets its value, `failed` its exception, in the main thread.

    Returns
    -------
    WorkerBase
        For `stop_functions`; nobody needs to keep it for any other reason.
    """
    told: dict[str, Any] = {"returned": then, "errored": failed}
    worker: WorkerBase[Any] = create_worker(function, *args, _start_thread=False, _connect=told, **kwargs)
    _start(worker, _for_functions())
    return worker


def stop_functions(*workers: WorkerBase[Any] | None) -> None:
    """Have nobody hear of functions that run, and wait for their threads: the panel goes away."""
    running = [worker for worker in workers if worker is not None]
    for worker in running:
        worker.returned.disconnect()
        worker.errored.disconnect()
    _wait_for(running)


def _wait_for(workers: Iterable[WorkerBase[Any]]) -> None:
    deadline = time.monotonic() + LONGEST_WAIT
    while any(worker.is_running for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.005)


_turn_takers: WeakSet[Runner] = WeakSet()


class Runner(QObject):
    """One job at a time in a thread; every signal arrives in the main thread.

    Parameters
    ----------
    parent : QObject, optional
    takes_turns : bool
        With all others that do: where one's job runs, this one's waits for its end, and says so.
    """

    happened = Signal(object)
    ended = Signal(object)

    def __init__(self, parent: QObject | None = None, *, takes_turns: bool = False) -> None:
        super().__init__(parent)
        self._pool = _for_rounds() if takes_turns else _for_jobs()
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
        """Start a job; its events come as `happened`, its outcome as `ended`."""
        if self._worker is not None:
            raise RuntimeError("a job is running")
        waits = self in _turn_takers and any(other.busy for other in _turn_takers)
        self._outcome = Cancelled()  # unless the job returns another
        self._begun = False
        self._shown = Event()
        self._worker = create_worker(_guarded, self._shown, job, *args, _start_thread=False, **kwargs)
        for signal, slot in self._slots(self._worker):
            signal.connect(slot)
        if waits:
            self.happened.emit(WAITING)
        _start(self._worker, self._pool)

    def cancel(self) -> None:
        """Stop the job after the step that is under way; one that still waits for its turn, at once."""
        if self._worker is None:
            return
        self._worker.quit()
        if not self._begun:
            QTimer.singleShot(0, self._give_up)

    def stop(self) -> None:
        """Stop the job, forget its signals and wait for its thread: the panel goes away."""
        worker = self._let_go()
        if worker is not None:
            _wait_for([worker])

    def _slots(self, worker: Any) -> tuple[tuple[Any, Callable[..., None]], ...]:
        return (
            (worker.started, self._on_started),
            (worker.yielded, self._on_yielded),
            (worker.returned, self._on_returned),
            (worker.finished, self._on_finished),
        )

    def _let_go(self) -> Any:
        """Have the job end by itself, unheard; its worker, None where none runs."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.quit()
            for signal, slot in self._slots(worker):
                signal.disconnect(slot)
        return worker

    @Slot()
    def _give_up(self) -> None:
        # Its turn may have come and gone since, and the next job have started
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
        # Not `aborted`: a quit that meets the very last step emits neither that nor `returned`.
        if self._worker is not None:
            self._worker = None
            self.ended.emit(self._outcome)
