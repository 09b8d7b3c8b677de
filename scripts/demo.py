"""The demonstration: napari with an annotated sample image and the panel, ready for the button.

python scripts/demo.py                            opens a window for a person
python scripts/demo.py --headless --out FOLDER    presses the button itself and writes files

The second needs an X server, such as Xvfb. `make demo` chooses between the two.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import tifffile
from qtpy.QtWidgets import QApplication

from napari_fewshot_cells.plugin.layers.sample_data import SEED
from napari_fewshot_cells.prediction.metrics import average_precision, iou
from napari_fewshot_cells.simulate import fluorescent_cells

if TYPE_CHECKING:
    from collections.abc import Callable

PLUGIN = "napari-fewshot-cells"
WINDOW = (1400, 900)
PATIENCE = 300  # s; an idle machine needs some 10


def open_window() -> tuple[napari.Viewer, Any]:
    """Open a viewer with the sample, its annotation and the docked panel."""
    viewer = napari.Viewer()
    viewer.open_sample(PLUGIN, "fluorescent_cells")
    _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Few-shot segmentation")
    return viewer, panel


def wait_until(reached: Callable[[], bool], what: str) -> None:
    """Run the window until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > end:
            sys.exit(f"demo: {what} did not happen within {PATIENCE} s")
        QApplication.processEvents()
        time.sleep(0.005)


def linger(seconds: float) -> None:
    """Run the window for a while, so that it is drawn."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end, "drawing")


def drive(out: Path, *, images_only: bool) -> None:
    """Press the button as a person would; write screenshots of before and after, and the labels."""
    out.mkdir(parents=True, exist_ok=True)
    viewer, panel = open_window()
    viewer.window.resize(*WINDOW)
    wait_until(panel.fine_tune_button.isEnabled, "an enabled button")
    image = panel.session.image
    linger(1)
    viewer.reset_view()  # the whole image in the window's new size
    linger(1)
    viewer.screenshot(out / "before.png", canvas_only=False, flash=False)

    started = time.monotonic()
    panel.fine_tune_button.click()
    wait_until(lambda: not panel.session.busy, "the end of the fine-tuning")
    seconds = time.monotonic() - started
    result = panel.session.results.of(image)
    if result is None:
        sys.exit("demo: the button gave no labels")
    panel.session.annotation.layer.visible = False  # so that the result can be seen
    linger(1)
    viewer.screenshot(out / "after.png", canvas_only=False, flash=False)
    if not images_only:
        tifffile.imwrite(out / "labels.tif", result.data, compression="zlib")

    _, truth = fluorescent_cells(seed=SEED)
    print(f"From the press of the button to {result.data.max()} cells: {seconds:.1f} s")
    print(f"Against the simulated truth ({truth.max()} cells): IoU {iou(result.data, truth):.3f}, ", end="")
    print(f"AP at IoU 0.5 {average_precision(result.data, truth):.3f}")
    print("Written: " + ", ".join(str(file) for file in sorted(out.glob("*")) if file.is_file()))
    viewer.close()


def main() -> None:
    """Parse the arguments and show the demonstration."""
    parser = argparse.ArgumentParser(description="Show what the plugin does.")
    parser.add_argument("--headless", action="store_true", help="press the button and write files")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for the files")
    parser.add_argument("--images-only", action="store_true", help="write the screenshots only")
    arguments = parser.parse_args()
    if arguments.headless:
        with tempfile.TemporaryDirectory() as home:
            os.environ["NAPARI_FEWSHOT_HOME"] = (
                home  # keeps the demonstration's model out of the user's library
            )
            drive(arguments.out, images_only=arguments.images_only)
    else:
        open_window()
        napari.run()


if __name__ == "__main__":
    main()
