"""Functions run in threads, and no other file of the plugin starts a thread."""

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
    "Timer",  # threading.Timer; Qt's is QTimer
    "start_new_thread",
    "ThreadPoolExecutor",
    "ProcessPoolExecutor",
    "ThreadPool",
    "multiprocessing",
    "to_thread",
}


def starters_in(source: str) -> set[str]:
    """The names in a source that could start a thread."""
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
    results: list[tuple[object, bool]] = []

    def add(one: int, *, other: int) -> int:
        threads.append(threading.current_thread())
        return one + other

    def take(value: object) -> None:
        results.append((value, threading.current_thread() is threading.main_thread()))

    run_function(add, 2, other=3, then=take, failed=take)
    qtbot.waitUntil(lambda: bool(results))
    assert results == [(5, True)]
    assert threads != [threading.main_thread()]


def test_a_fault_goes_to_failed(qtbot: QtBot) -> None:
    values: list[object] = []
    faults: list[Exception] = []
    run_function(int, "seven", then=values.append, failed=faults.append)
    qtbot.waitUntil(lambda: bool(faults))
    assert "seven" in str(faults[0])
    assert values == []


def test_stopped_functions_are_waited_for_and_call_nothing(qtbot: QtBot) -> None:
    results: list[object] = []
    done: list[str] = []
    begun = threading.Event()

    def slow() -> None:
        begun.set()
        time.sleep(0.2)
        done.append("done")

    running = run_function(slow, then=results.append, failed=results.append)
    assert begun.wait(10)
    stop_functions(running, None)
    assert done == ["done"]
    qtbot.wait(50)
    assert results == []


def test_a_function_does_not_wait_for_long_jobs_or_long_functions(qtbot: QtBot) -> None:
    """Strokes are saved while a folder is predicted and a project is read, even on two cores."""
    go_on = threading.Event()

    def job() -> Job:
        go_on.wait(60)
        yield from ()

    runners = [Runner() for _ in range(12)]
    results: list[object] = []
    try:
        for runner in runners:
            runner.start(job)
            run_function(go_on.wait, 60, then=lambda _: None, failed=results.append)
        run_function(int, "7", then=results.append, failed=results.append)
        qtbot.waitUntil(lambda: results == [7])
    finally:
        go_on.set()
    qtbot.waitUntil(lambda: not any(runner.busy for runner in runners))


def test_napari_waits_for_a_file_that_is_being_written_when_it_quits(tmp_path: Path) -> None:
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
