"""All threads of the plugin: no other file of `plugin` starts one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

from qtpy.QtCore import QCoreApplication, QThreadPool
from superqt.utils import WorkerBase, create_worker

LONGEST_WAIT = 5.0  # s; closing the panel waits so long for the current step
MOST_FUNCTIONS = 32  # at once: short ones never wait for long ones, such as saving a project

_started: dict[int, WorkerBase[Any]] = {}  # by id, because Qt does not keep workers alive


def _new_pool() -> QThreadPool:
    """A pool whose threads end with their work.

    Each thread that used PyTorch owns an OpenMP team, and Qt's own pool keeps a thread half a minute after
    its work. Two teams outnumber the cores, and training takes 1.5x as long: end threads with their work. See
    also `host_process.limit_openmp_spinning`.
    """
    pool = QThreadPool()
    pool.setExpiryTimeout(0)
    return pool


@lru_cache(maxsize=1)
def job_pool() -> QThreadPool:
    """The pool of single jobs."""
    return _new_pool()


@lru_cache(maxsize=1)
def _function_pool() -> QThreadPool:
    """The pool of `run_function`. napari waits for it before it quits, so that files are complete."""
    pool = _new_pool()
    pool.setMaxThreadCount(MOST_FUNCTIONS)
    application = QCoreApplication.instance()
    if application is not None:
        application.aboutToQuit.connect(partial(pool.waitForDone, -1))
    return pool


@lru_cache(maxsize=1)
def round_pool() -> QThreadPool:
    """The pool of rounds: one lasting thread. The memory that a round frees serves the next one.

    A new thread would take another arena of the C library.
    """
    pool = QThreadPool()
    pool.setMaxThreadCount(1)
    pool.setExpiryTimeout(-1)
    return pool


def new_worker(function: Callable[..., Any], *args: Any, **kwargs: Any) -> WorkerBase[Any]:
    """A worker for a function or a generator; `start` starts it."""
    worker: WorkerBase[Any] = create_worker(function, *args, _start_thread=False, **kwargs)
    return worker


def start(worker: WorkerBase[Any], pool: QThreadPool) -> None:
    """Start a worker in one of the pools."""
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
    """Run a function in a thread; the GUI thread calls `then` with its value or `failed` with its exception.

    Returns
    -------
    WorkerBase
        For `stop_functions`; keep it only for that.
    """
    callbacks: dict[str, Any] = {"returned": then, "errored": failed}
    worker = new_worker(function, *args, _connect=callbacks, **kwargs)
    start(worker, _function_pool())
    return worker


def stop_functions(*workers: WorkerBase[Any] | None) -> None:
    """Drop the callbacks of running functions and wait for their threads, as the panel closes."""
    running = [worker for worker in workers if worker is not None]
    for worker in running:
        worker.returned.disconnect()
        worker.errored.disconnect()
    wait_for(running)


def wait_for(workers: Iterable[WorkerBase[Any]]) -> None:
    """Wait for workers to end, at most `LONGEST_WAIT`."""
    deadline = time.monotonic() + LONGEST_WAIT
    while any(worker.is_running for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.005)
