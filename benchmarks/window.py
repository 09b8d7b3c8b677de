"""The real window with the panel docked, and what a benchmark does with it: wait, and measure stalls."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QTimer

BEAT, LOOK = 5, 20  # ms


@contextmanager
def open_window() -> Iterator[tuple[napari.Viewer, Any]]:
    """A viewer and its panel, ready to work, with its own home folder."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["NAPARI_FEWSHOT_HOME"] = home
        viewer = napari.Viewer()
        viewer.open_sample("napari-fewshot-cells", "fluorescent_cells")
        _, panel = viewer.window.add_plugin_dock_widget("napari-fewshot-cells", "Few-shot segmentation")
        wait(panel.fine_tune_button.isEnabled)
        rest(2)
        yield viewer, panel
        viewer.close()


def wait(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Run the window until a condition holds.

    Uses Qt's own loop, as napari does: a loop in Python would compete for the GIL all the time.
    """
    end = time.perf_counter() + seconds
    loop, look = QEventLoop(), QTimer()
    look.timeout.connect(lambda: loop.quit() if condition() or time.perf_counter() > end else None)
    look.start(LOOK)
    loop.exec()
    look.stop()
    if not condition():
        raise TimeoutError("the condition did not come true")


def rest(seconds: float) -> None:
    """Run the window for `seconds`."""
    end = time.perf_counter() + seconds
    wait(lambda: time.perf_counter() > end, 2 * seconds)


class Pulse:
    """A timer of 5 ms in the window's event loop; a stall is the longest time between two beats."""

    def __init__(self) -> None:
        self._beats: list[float] = []
        self._timer = QTimer()
        self._timer.setInterval(BEAT)
        self._timer.timeout.connect(lambda: self._beats.append(time.perf_counter()))
        self._timer.start()
        wait(lambda: len(self._beats) > 10)
        self._beats = [time.perf_counter()]

    def stop(self) -> np.ndarray:
        """Gaps between the beats in ms, including the one that ends after the measured work."""
        n_beats = len(self._beats)
        wait(lambda: len(self._beats) > n_beats + 10)
        self._timer.stop()
        return np.diff(self._beats) * 1000
