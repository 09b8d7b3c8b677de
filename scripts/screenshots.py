"""Makes docs/images/before.png and after.png: the real window around a press of the button.

python scripts/screenshots.py [--sample electron_microscopy] [--out docs/images]

Needs a screen; scripts/on-virtual-screen.sh gives it a virtual one of 1400 × 900 px. It uses a library of its
own, so that nobody's models show up in the pictures.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PLUGIN = "napari-fewshot-cells"
WINDOW = (1400, 900)
PATIENCE = 300  # s


def main() -> None:
    """Parse the arguments and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", default="fluorescent_cells", help="key of the sample to open")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder for the pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as library:
        os.environ["NAPARI_FEWSHOT_HOME"] = library
        take(arguments.sample, arguments.out)


def take(sample: str, out: Path) -> None:
    """Open the window, take a picture, press the button, take another."""
    import napari
    from qtpy.QtWidgets import QApplication

    def live(until: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.005)
        return until()

    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW)
    _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Few-shot segmentation")
    viewer.open_sample(PLUGIN, sample)
    if not live(lambda: panel.fine_tune_button.isEnabled() and panel.session.tally.planes > 0):
        sys.exit(f"screenshots: {panel.fine_tune_button.toolTip()}")
    live(lambda: False, 1.5)
    viewer.reset_view()
    viewer.screenshot(out / "before.png", canvas_only=False, flash=False)

    panel.fine_tune_button.click()
    if not live(lambda: not panel.session.busy):
        sys.exit("screenshots: the fine-tuning did not end")
    live(lambda: False, 1.0)
    # The annotation has done its work; hidden, it leaves the view on the cells that were found
    panel.session.annotation.layer.visible = False
    live(lambda: False, 1.0)
    viewer.screenshot(out / "after.png", canvas_only=False, flash=False)
    print(f"{panel.message_bar.text}\nWritten: {out / 'before.png'}, {out / 'after.png'}")
    viewer.close()


if __name__ == "__main__":
    main()
