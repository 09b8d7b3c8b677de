"""Where should the fine-tuning run: in the main thread, a worker thread, or another process?

python benchmarks/threads.py [--rounds 3]

Each does the same work, FCRN at K = 1 on a 512×512 image with the default recipe, while a timer of 5 ms beats
in a Qt event loop of the main thread. Measured are the seconds from the call until the main thread has the
fine-tuned model, and the longest gap between beats and the 99th percentile, in ms. Processes are spawned, as
on Windows and macOS: once cold, which includes the import of PyTorch, and once warm, waiting for work.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from qtpy.QtCore import QCoreApplication, QTimer

from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import SupportSet, make_shot, make_support_set
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.registry import DEFAULT
from napari_fewshot_cells.simulate import fluorescent_cells, partial_annotation
from napari_fewshot_cells.training import provenance

COLUMNS = ("where", "threads", "round", "seconds", "stall_ms", "p99_ms", "commit", "date", "machine")


def support_set() -> SupportSet:
    """One simulated image, partially annotated."""
    image, labels = fluorescent_cells((512, 512), seed=0)
    return make_support_set([make_shot(to_plane(image, "simulated"), partial_annotation(labels, seed=0))])


def work() -> bytes:
    """Fine-tune and return the weights."""
    model = finish(fine_tune(load_model(DEFAULT), support_set()))
    buffer = io.BytesIO()
    torch.save(model.network.state_dict(), buffer)
    return buffer.getvalue()


def serve(pipe: Connection, threads: int) -> None:
    """Run in the other process: work whenever asked."""
    torch.set_num_threads(threads)
    with suppress(EOFError):  # the other end closes when the benchmark ends
        while pipe.recv():
            pipe.send_bytes(work())


def in_main_thread() -> Callable[[], bool]:
    work()
    return lambda: True


def in_worker_thread() -> Callable[[], bool]:
    thread = threading.Thread(target=work)
    thread.start()
    return lambda: not thread.is_alive()


class OtherProcess:
    """A spawned process that fine-tunes on request."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=serve, args=(there, torch.get_num_threads()))
        self._process.start()

    def ask(self) -> Callable[[], bool]:
        self._pipe.send(True)
        return self._answered

    def _answered(self) -> bool:
        if not self._pipe.poll():
            return False
        self._pipe.recv_bytes()
        return True

    def end(self) -> None:
        self._pipe.send(False)
        self._process.join()


def in_cold_process() -> Callable[[], bool]:
    return OtherProcess().ask()  # never asked again: it ends with this program


def measure(start: Callable[[], Callable[[], bool]]) -> tuple[float, np.ndarray]:
    """Seconds until done, and the gaps between heartbeats in ms."""
    beats: list[float] = []
    timer = QTimer()
    timer.setInterval(5)
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start()
    started = time.perf_counter()
    is_done = start()
    while not is_done():
        QCoreApplication.processEvents()
        time.sleep(0.001)
    seconds = time.perf_counter() - started
    QCoreApplication.processEvents()
    timer.stop()
    return seconds, np.diff([started, *beats, time.perf_counter()]) * 1000


def main() -> None:
    """Take turns, so that a change of the machine's speed affects all alike."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/results/threads.csv"))
    arguments = parser.parse_args()
    _application = QCoreApplication([])
    work()  # the first calls include set-up
    warm = OtherProcess()
    measure(warm.ask)
    places = {
        "main thread": in_main_thread,
        "worker thread": in_worker_thread,
        "process, warm": warm.ask,
        "process, cold": in_cold_process,
    }
    rows = []
    for number in range(arguments.rounds):
        for place, start in places.items():
            seconds, gaps = measure(start)
            row = (
                place, torch.get_num_threads(), number, f"{seconds:.2f}", round(float(gaps.max())),
                round(float(np.percentile(gaps, 99))), provenance.commit(), provenance.now(),
                provenance.machine(),
            )  # fmt: skip
            rows.append(row)
            print(*row[:6], flush=True)
    warm.end()
    for child in multiprocessing.active_children():
        child.terminate()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    for place in places:
        print(place, "median", statistics.median(float(r[3]) for r in rows if r[0] == place), "s")


if __name__ == "__main__":
    main()
