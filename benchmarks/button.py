"""From the press of the button to labels, in the real window: seconds, and how long the window stood still.

xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/button.py [--runs 5]

K = 1, FCRN, a simulated 512×512 image with a partial annotation, all processor threads. A timer of 5 ms beats
in the window's event loop; a stall is the longest time between two beats. Run it when nothing else runs.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

BEAT = 5  # ms
COLUMNS = ("run", "seconds", "iou", "stall_ms", "p99_ms", "commit", "date", "machine")


def wait(condition, seconds=120.0):  # type: ignore[no-untyped-def]
    """Let the window live until a condition holds."""
    end = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > end:
            raise TimeoutError("the window did not get there")
        QApplication.processEvents()
        time.sleep(0.001)


def press(panel) -> tuple[float, np.ndarray]:  # type: ignore[no-untyped-def]
    """Seconds from press to labels, and the gaps between heartbeats in ms."""
    beats: list[float] = []
    timer = QTimer()
    timer.setInterval(BEAT)
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start()
    wait(lambda: len(beats) > 10)
    beats.clear()
    started = time.perf_counter()
    panel.fine_tune_button.click()
    wait(lambda: not panel.session.busy)
    seconds = time.perf_counter() - started
    n_beats = len(beats)
    wait(lambda: len(beats) > n_beats + 10)  # the stall at the very end counts too
    timer.stop()
    return seconds, np.diff([started, *beats]) * 1000


def main() -> None:
    """Press it several times in one window."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs/results/button.csv"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["NAPARI_FEWSHOT_HOME"] = home
        viewer = napari.Viewer()
        viewer.open_sample("napari-fewshot-cells", "fluorescent_cells")
        _, panel = viewer.window.add_plugin_dock_widget("napari-fewshot-cells", "Few-shot segmentation")
        wait(panel.fine_tune_button.isEnabled)
        opened = time.perf_counter()
        wait(lambda: time.perf_counter() > opened + 2)
        rows = [measure(panel, run) for run in range(arguments.runs)]
        viewer.close()
    with arguments.out.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    seconds = statistics.median(float(row[1]) for row in rows)
    print(f"median {seconds:.1f} s, longest stall {max(row[3] for row in rows)} ms")


def measure(panel, run: int) -> tuple[object, ...]:  # type: ignore[no-untyped-def]
    """One row."""
    from napari_fewshot_cells.metrics import iou
    from napari_fewshot_cells.plugin.sample_data import SEED
    from napari_fewshot_cells.simulate import fluorescent_cells
    from napari_fewshot_cells.training import provenance

    seconds, gaps = press(panel)
    labels = panel.session.results.of(panel.session.image).data
    quality = iou(labels, fluorescent_cells(seed=SEED)[1])
    stall, p99 = round(float(gaps.max())), round(float(np.percentile(gaps, 99)))
    origin = (provenance.commit(), provenance.now(), provenance.machine())
    row = (run, f"{seconds:.2f}", f"{quality:.3f}", stall, p99, *origin)
    print(*row[:5], flush=True)
    return row


if __name__ == "__main__":
    main()
