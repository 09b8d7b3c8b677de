"""The longest stall of the window in each of the things that take long.

xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/heartbeat.py [--runs 3]

Stalls are measured by `window.Pulse` in the real window with the panel docked, during
- fine-tuning on the simulated 512×512 sample, without and with the preview;
- prediction on 1024×1024 and 4096×4096, until the objects are measured;
- a slider drawn over its range, on both sizes;
- painting on an annotation of 4096×4096 while it is saved every few seconds.

Writes heartbeat.csv and heartbeat.md in docs/results. Run it when nothing else runs.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from report import Row, origin, read, table, write_page
from window import Pulse, open_window, rest, wait

LARGE, MEDIUM = 4096, 1024  # px
BAR = 100  # ms
HOUR = 3600.0  # s
PAINTING = 12.0  # s: four times the longest delay of a save
COLUMNS = ("what", "run", "stall_ms", "p99_ms", "beats", "commit", "date", "machine")


def main() -> None:
    """Do each of these several times in one window."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/results/heartbeat.csv"))
    arguments = parser.parse_args()
    rows: list[tuple[object, ...]] = []
    with open_window() as (viewer, panel):
        sample = panel.session.image
        for preview in (False, True):
            panel.session.choose(preview=preview)
            for run in range(arguments.runs):
                rows.append(row(f"fine-tuning, preview {'on' if preview else 'off'}", run, train, panel))
        for side in (MEDIUM, LARGE):
            tiles = -(-side // sample.data.shape[0])
            image = viewer.add_image(np.tile(sample.data, (tiles, tiles))[:side, :side], name=f"{side} px")
            rest(2)
            panel.session.choose(image=image)
            for run in range(arguments.runs):
                rows.append(row(f"prediction, {side} px", run, predict, panel))
            for run in range(arguments.runs):
                rows.append(row(f"slider, {side} px", run, draw_slider, panel))
        layer = panel.session.annotations.create(image)
        rest(5)
        for run in range(arguments.runs):
            rows.append(row(f"painting and autosave, {LARGE} px", run, paint, panel, layer, run))
    with arguments.out.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    report(read(arguments.out.name), arguments.out.with_suffix(".md"))


def row(what: str, run: int, work: Callable[..., None], *on: Any) -> tuple[object, ...]:
    """Do it once, and measure the stalls."""
    from napari_fewshot_cells.training import provenance

    pulse = Pulse()
    work(*on)
    gaps = pulse.stop()
    stall, p99 = round(float(gaps.max())), round(float(np.percentile(gaps, 99)))
    print(f"{what}: {stall} ms, 99th percentile {p99} ms, {len(gaps)} beats", flush=True)
    return what, run, stall, p99, len(gaps), provenance.commit(), provenance.now(), provenance.machine()


def train(panel: Any) -> None:
    """Press the button, and wait until its model is scored."""
    panel.fine_tune_button.click()
    wait(lambda: not panel.session.busy and not panel.rounds.measuring)


def predict(panel: Any) -> None:
    """Predict the visible plane, and wait until its objects are measured."""
    panel.predict_button.click()
    wait(lambda: not panel.session.busy and not panel.refiner.unfinished, HOUR)


def draw_slider(panel: Any) -> None:
    """Draw the threshold over its range in two seconds, and wait for the objects."""
    for value in np.linspace(0.3, 0.9, 40):
        panel.objects_box.threshold.setValue(value)
        rest(0.05)
    wait(lambda: not panel.refiner.unfinished, HOUR)


def paint(panel: Any, layer: Any, seed: int) -> None:
    """Short strokes all over the image, ten a second."""
    corners = np.random.default_rng(seed).uniform(50, LARGE - 50, (round(10 * PAINTING), 2))
    for row, column in corners:
        layer.paint((row, column), 3)
        rest(0.1)
    folder = panel.autosave.folder
    written = (folder / "project.json").stat().st_mtime
    wait(lambda: (folder / "project.json").stat().st_mtime > written)


def report(rows: Sequence[Row], path: Path) -> None:
    """As a page."""
    lines = []
    for what in dict.fromkeys(row["what"] for row in rows):
        stalls = [int(row["stall_ms"]) for row in rows if row["what"] == what]
        p99 = max(int(row["p99_ms"]) for row in rows if row["what"] == what)
        met = "yes" if max(stalls) <= BAR else "**no**"
        lines.append([what, f"{median(stalls):.0f}", str(max(stalls)), str(p99), met, str(len(stalls))])
    header = ["what", "stall, ms, median", "longest", "99 % of gaps below", f"≤ {BAR} ms", "n"]
    write_page(
        path,
        "The window's pulse",
        "Made by `python benchmarks/heartbeat.py`, which describes each line. Software OpenGL.",
        table(header, lines),
        origin(rows),
    )


if __name__ == "__main__":
    main()
