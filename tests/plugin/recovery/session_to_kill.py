"""A napari that paints, trains and saves until it is killed: ``session_to_kill.py {train,save} PROJECT``.

Each stroke writes its number into a row of the annotation, and prints the number and the time.
"""

from __future__ import annotations

import sys
import time
from itertools import count
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QTimer

from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models.library import save_model
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.plugin.panel.panel import FewShotWidget
from napari_fewshot_cells.plugin.session.session import FINE_TUNING

SIDE = 1024
EVERY = 50  # ms between strokes


def say(line: str) -> None:
    """Print a line in one write. With PYTHONUNBUFFERED, `print` makes several, and a kill may hit between."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(mode: str, project: Path) -> None:
    entry = save_model(Model(ModelCard("quick start", "fcrn"), build_network("fcrn", seed=0)))
    viewer = napari.Viewer()
    panel = FewShotWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Few-shot segmentation")
    image = viewer.add_image(np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32), name="noise")
    layer = panel.session.annotations.create(image)
    layer.data_setitem((np.full(SIDE, SIDE - 1), np.arange(SIDE)), 1)
    numbers = count(2)

    def paint() -> None:
        number = next(numbers)
        columns = np.arange(SIDE)
        layer.data_setitem((np.full(SIDE, number % (SIDE - 1)), columns), number)
        say(f"painted {number} {time.time()}")
        if panel.session.running == FINE_TUNING and panel.finetune_box.progress.value() > 0:
            say(f"training {panel.finetune_box.progress.value()}")

    def train() -> None:
        recipe = Recipe(steps=10**6, crops=2, crop_size=64)
        panel.session.choose(start=entry, recipe=recipe, preview=False, diameter=28.0)
        panel.fine_tune_button.click()

    def save() -> None:
        if panel.project_row.saving_to is None:
            say(f"saved {panel.project_row.folder}")
            panel.project_row.save(project)

    strokes, saves = QTimer(), QTimer()
    strokes.timeout.connect(paint)
    saves.timeout.connect(save)

    def begin() -> None:
        if panel.session.loading:
            QTimer.singleShot(100, begin)
            return
        paint()
        strokes.start(EVERY)
        if mode == "train":
            train()
        else:
            saves.start(5)

    begin()
    napari.run()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
