"""Functions in threads, and that no other file of the window starts a thread."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

import napari_fewshot_cells.plugin
from napari_fewshot_cells.plugin.jobs.events import Job
from napari_fewshot_cells.plugin.jobs.threads import run_function, stop_functions
from napari_fewshot_cells.plugin.jobs.worker import Runner

PLUGIN = Path(napari_fewshot_cells.plugin.__file__).parent
STARTERS = {
    "create_worker",
    "thread_worker",
    "new_worker_qthread",
    "WorkerBase",
    "FunctionWorker",
    "GeneratorWorker",
    "QThread",
    "QThreadPool",
    "QRunnable",
    "QtConcurrent",
    "Thread",
    "Timer",  # of threading; Qt's is QTimer
    "start_new_thread",
    "ThreadPoolExecutor",
    "ProcessPoolExecutor",
    "ThreadPool",
    "multiprocessing",
    "to_thread",
}


def starters_in(source: str) -> set[str]:
    """Names by which a source could start a thread."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(part for alias in node.names for part in alias.name.split("."))
            names.update((getattr(node, "module", None) or "").split("."))
    return names & STARTERS


def test_only_one_file_starts_threads() -> None:
    found = {path.relative_to(PLUGIN): starters_in(path.read_text("utf-8")) for path in PLUGIN.rglob("*.py")}
    assert [str(path) for path, starters in found.items() if starters] == [str(Path("jobs", "threads.py"))]


@pytest.mark.parametrize(
    "source",
    [
        "from superqt.utils import create_worker as start",
        "import threading\nthreading.Thread(target=print).start()",
        "from qtpy import QtCore\nQtCore.QThreadPool.globalInstance()",
        "from concurrent.futures import ThreadPoolExecutor",
        "import multiprocessing.pool",
    ],
)
def test_the_search_finds(source: str) -> None:
    assert starters_in(source)


def test_a_function_gets_its_arguments_and_the_main_thread_its_value(qtbot: QtBot) -> None:
    threads: list[threading.Thread] = []
    told: list[tuple[object, bool]] = []

    def add(one: int, *, other: int) -> int:
        threads.append(threading.current_thread())
        return one + other

    def take(value: object) -> None:
        told.append((value, threading.current_thread() is threading.main_thread()))

    run_function(add, 2, other=3, then=take, failed=take)
    qtbot.waitUntil(lambda: bool(told))
    assert told == [(5, True)]
    assert threads != [threading.main_thread()]


def test_a_fault_is_told_in_its_place(qtbot: QtBot) -> None:
    values: list[object] = []
    faults: list[Exception] = []
    run_function(int, "seven", then=values.append, failed=faults.append)
    qtbot.waitUntil(lambda: bool(faults))
    assert "seven" in str(faults[0])
    assert values == []


def test_functions_that_are_stopped_are_waited_for_and_not_heard(qtbot: QtBot) -> None:
    told: list[object] = []
    done: list[str] = []
    begun = threading.Event()

    def slow() -> None:
        begun.set()
        time.sleep(0.2)
        done.append("done")

    running = run_function(slow, then=told.append, failed=told.append)
    assert begun.wait(10)
    stop_functions(running, None)
    assert done == ["done"]
    qtbot.wait(50)
    assert told == []


def test_a_function_does_not_wait_for_long_jobs_or_long_functions(qtbot: QtBot) -> None:
    """What is painted is saved while a folder is predicted and a project is read, on two cores too."""
    go_on = threading.Event()

    def job() -> Job:
        go_on.wait(60)
        yield from ()

    runners = [Runner() for _ in range(12)]
    told: list[object] = []
    try:
        for runner in runners:
            runner.start(job)
            run_function(go_on.wait, 60, then=lambda _: None, failed=told.append)
        run_function(int, "7", then=told.append, failed=told.append)
        qtbot.waitUntil(lambda: told == [7])
    finally:
        go_on.set()
    qtbot.waitUntil(lambda: not any(runner.busy for runner in runners))


def test_what_is_being_written_when_napari_quits_is_written_to_its_end(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from qtpy.QtCore import QCoreApplication, QTimer
from napari_fewshot_cells.plugin.jobs.events import Job
from napari_fewshot_cells.plugin.jobs.threads import run_function

def save(file):
    time.sleep(0.3)
    file.write_text("all of it")

application = QCoreApplication(sys.argv)
for name in sys.argv[1:]:
    run_function(save, Path(name), then=print, failed=print)
QTimer.singleShot(0, application.quit)
application.exec()
"""
    files = [tmp_path / f"project {number}" for number in range(16)]
    ran = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert {file.read_text() for file in files} == {"all of it"}
