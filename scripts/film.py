"""One round of the loop in the real window, as pictures of each step and as a short film.

python scripts/film.py --out docs/images

It runs from a bare image to corrected cells. A person's strokes are drawn from the simulated truth; the
panel's own buttons do everything else. Needs an X server, such as Xvfb: `make screenshots`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import napari
import numpy as np
from demo import PLUGIN, WINDOW, linger, wait_until
from PIL import Image
from qtpy.QtWidgets import QApplication
from scipy.ndimage import binary_dilation

from napari_fewshot_cells.plugin.annotate.corrections import reject
from napari_fewshot_cells.plugin.annotate.touch import Touch
from napari_fewshot_cells.plugin.layers.sample_data import SEED
from napari_fewshot_cells.simulate import fluorescent_cells, partial_annotation

FILM_WIDTH = 840  # px
COLOURS = 64
PACE = 1.0  # s between pictures of the training
PAUSE, REST = 700, 2500  # ms that a picture is shown, and the last of a step


class Film:
    """Pictures of the window, some of them also saved by name."""

    def __init__(self, viewer: napari.Viewer, out: Path) -> None:
        self._viewer, self._out = viewer, out
        self._pictures: list[Image.Image] = []
        self._milliseconds: list[int] = []

    def shoot(self, name: str | None = None) -> None:
        """Take a picture; a named one is also saved as a file, and shown longer in the film."""
        picture = Image.fromarray(self._viewer.screenshot(canvas_only=False, flash=False)[..., :3])
        if name is not None:
            picture.save(self._out / f"{name}.png", optimize=True)
        height = round(picture.height * FILM_WIDTH / picture.width)
        small = picture.resize((FILM_WIDTH, height), Image.Resampling.LANCZOS)
        self._pictures.append(small.quantize(COLOURS, dither=Image.Dither.NONE))
        self._milliseconds.append(PAUSE if name is None else REST)

    def save(self) -> Path:
        """Write the film."""
        path = self._out / "loop.gif"
        first, *others = self._pictures
        first.save(path, save_all=True, append_images=others, duration=self._milliseconds, loop=0)
        return path


def play(out: Path) -> None:
    """Go through the loop once."""
    out.mkdir(parents=True, exist_ok=True)
    pixels, truth = fluorescent_cells(seed=SEED)
    viewer = napari.Viewer()
    _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Few-shot segmentation")
    viewer.window.resize(*WINDOW)
    film = Film(viewer, out)
    image = viewer.add_image(pixels, name="cells")
    wait_until(lambda: not panel.session.loading, "the library")
    linger(1)
    viewer.reset_view()
    linger(0.5)
    film.shoot("loop-1-image")

    panel.annotation_box.new_button.click()
    layer = panel.session.annotation.layer
    stroke_by_stroke(layer, partial_annotation(truth, seed=SEED), film)
    wait_until(panel.fine_tune_button.isEnabled, "an enabled button")
    linger(0.5)
    film.shoot("loop-2-annotated")

    panel.fine_tune_button.click()
    watch(panel, film)
    linger(1)
    layer.visible = False
    linger(0.5)
    film.shoot("loop-4-cells")

    layer.visible = True
    correct(panel, image, truth)
    linger(0.5)
    film.shoot("loop-5-corrected")
    panel.fine_tune_button.click()
    watch(panel, film)
    wait_until(lambda: not panel.rounds.measuring, "the score")
    layer.visible = False
    linger(0.5)
    film.shoot("loop-6-again")
    print(f"Written: {film.save()}")
    viewer.close()


def stroke_by_stroke(layer: Any, painted: np.ndarray, film: Film) -> None:
    """Paint label after label, the background last."""
    values = [*(v for v in np.unique(painted) if v > 1), 1]
    for number, value in enumerate(values):
        layer.data_setitem(np.nonzero(painted == value), value)
        linger(0.1)
        if number % 3 == 0:
            film.shoot()


def watch(panel: Any, film: Film) -> None:
    """Wait for a run to end, taking pictures; the first with a preview is also saved."""
    named = False
    while panel.session.busy:
        until = time.monotonic() + PACE
        wait_until(lambda end=until: time.monotonic() > end or not panel.session.busy, "the run")
        shows = any(layer.visible for layer in panel.session.viewer.layers if "preview" in layer.name)
        film.shoot(None if named or not shows else "loop-3-training")
        named = named or shows


def correct(panel: Any, image: Any, truth: np.ndarray) -> None:
    """Paint merged cells and the background between them; reject objects that are not cells."""
    found = panel.session.results.of(image)
    labels = panel.session.annotation.layer
    for value in np.unique(found.data[found.data > 0]):
        cells, areas = np.unique(truth[found.data == value], return_counts=True)
        cells = [c for c, area in zip(cells, areas, strict=True) if c and area > np.sum(truth == c) / 2]
        if not cells:
            where = np.argwhere(found.data == value)
            middle = tuple(found.data_to_world(where[len(where) // 2]))
            reject(Touch(panel.session, labels, (middle,)))
        for cell in cells if len(cells) > 1 else ():
            labels.data_setitem(np.nonzero(truth == cell), int(labels.data.max()) + 1)
        for one, other in pairwise(cells):
            between = np.logical_and(*(binary_dilation(truth == c, iterations=3) for c in (one, other)))
            labels.data_setitem(np.nonzero(between & (truth == 0)), 1)
    QApplication.processEvents()


def main() -> None:
    """Parse the arguments and play."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["NAPARI_FEWSHOT_HOME"] = home  # keeps the film's models out of the user's library
        play(arguments.out)


if __name__ == "__main__":
    main()
