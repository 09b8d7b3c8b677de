"""Threads of the window. This is the only file that starts any."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

from qtpy.QtCore import QCoreApplication, QThreadPool
from superqt.utils import WorkerBase, create_worker

LONGEST_WAIT = 5.0  # s that closing the panel waits for the step that is under way
MOST_FUNCTIONS = 32  # at once: none waits for the long ones, such as saving a project

_started: dict[int, WorkerBase[Any]] = {}  # by identity; Qt does not keep them alive


def _new_pool() -> QThreadPool:
    """Threads that end with their work.

    Each thread that used PyTorch owns an OpenMP team, and Qt's own pool keeps a thread half a minute after
    its work. Two teams outnumber the cores, and training takes 1.5x as long: end threads with their work. See
    also `host_process.limit_openmp_spinning`.
    """
    pool = QThreadPool()
    pool.setExpiryTimeout(0)
    return pool


@lru_cache(maxsize=1)
def job_pool() -> QThreadPool:
    """Threads of single jobs."""
    return _new_pool()


@lru_cache(maxsize=1)
def _function_pool() -> QThreadPool:
    """Threads of `run_function`; what they write when napari quits is written to its end."""
    pool = _new_pool()
    pool.setMaxThreadCount(MOST_FUNCTIONS)
    application = QCoreApplication.instance()
    if application is not None:
        application.aboutToQuit.connect(partial(pool.waitForDone, -1))
    return pool


@lru_cache(maxsize=1)
def round_pool() -> QThreadPool:
    """One thread for all rounds: what it frees is there for the next, another would begin with none of it."""
    pool = QThreadPool()
    pool.setMaxThreadCount(1)
    pool.setExpiryTimeout(-1)
    return pool


def new_worker(function: Callable[..., Any], *args: Any, **kwargs: Any) -> WorkerBase[Any]:
    """A worker for a function or a generator; it waits for `start`."""
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
    """Run a function in a thread; `then` gets its value, `failed` its exception, in the main thread.

    Returns
    -------
    WorkerBase
        For `stop_functions`; nobody needs to keep it for any other reason.
    """
    callbacks: dict[str, Any] = {"returned": then, "errored": failed}
    worker = new_worker(function, *args, _connect=callbacks, **kwargs)
    start(worker, _function_pool())
    return worker


def stop_functions(*workers: WorkerBase[Any] | None) -> None:
    """Have nobody hear of functions that run, and wait for their threads: the panel goes away."""
    running = [worker for worker in workers if worker is not None]
    for worker in running:
        worker.returned.disconnect()
        worker.errored.disconnect()
    wait_for(running)


def wait_for(workers: Iterable[WorkerBase[Any]]) -> None:
    """Wait for threads to end, `LONGEST_WAIT` at the most."""
    deadline = time.monotonic() + LONGEST_WAIT
    while any(worker.is_running for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.005)
