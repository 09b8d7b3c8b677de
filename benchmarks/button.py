"""From the press of the button to labels, in the real window: seconds, and the longest stall of the window.

xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/button.py [--runs 5] [--k-shots 1 3 5 10]
    [--networks half-unet fcrn] [--annotations painted strokes]

For the panel's default network and FCRN, on K simulated 512×512 images with all processor threads. Each image
is annotated in part, by cells painted in their shape or by strokes through them. Each network and each kind
of annotation has its own window. After the training all K images are predicted, one after the other. Measured
are the seconds to the first labels and to the last, and the stall of `window.Pulse`. Run it when nothing else
runs.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import time
from pathlib import Path

import numpy as np

from window import Pulse, open_window, rest, wait

NETWORKS = ("half-unet", "fcrn")
ANNOTATIONS = ("painted", "strokes")
COLUMNS = (
    "network",
    "annotation",
    "k_shot",
    "run",
    "first_seconds",
    "seconds",
    "iou",
    "stall_ms",
    "p99_ms",
    "commit",
    "date",
    "machine",
)


def press(panel) -> tuple[float, float, np.ndarray]:  # type: ignore[no-untyped-def]
    """Seconds from press to the first labels and to the last, and the gaps between heartbeats in ms."""
    from napari_fewshot_cells.plugin.layers.plane_source import PlaneResult

    shown: list[float] = []

    def note(event: object) -> None:
        if isinstance(event, PlaneResult):
            shown.append(time.perf_counter())

    panel._runner.happened.connect(note)  # after the panel's own, which has drawn it by then
    pulse = Pulse()
    started = time.perf_counter()
    panel.fine_tune_button.click()
    wait(lambda: not panel.session.busy)
    seconds = time.perf_counter() - started
    gaps = pulse.stop()
    panel._runner.happened.disconnect(note)
    return shown[0] - started, seconds, gaps


def main() -> None:
    """Press it several times in one window."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--k-shots", type=int, nargs="+", default=[1, 3, 5, 10])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--annotations", nargs="+", choices=ANNOTATIONS, default=ANNOTATIONS)
    parser.add_argument("--out", type=Path, default=Path("docs/results/button.csv"))
    arguments = parser.parse_args()
    rows = []
    for network, annotation in itertools.product(arguments.networks, arguments.annotations):
        with open_window() as (viewer, panel):
            panel.session.choose(start=next(m for m in panel.session.models if m.name == network))
            for k_shot in sorted(arguments.k_shots):
                annotate(viewer, panel, k_shot, annotation)
                rows += [measure(panel, network, annotation, k_shot, run) for run in range(arguments.runs)]
    with arguments.out.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    for kind in dict.fromkeys(row[:3] for row in rows):
        seconds = statistics.median(float(row[4]) for row in rows if row[:3] == kind)
        print(f"{kind[0]}, {kind[1]}, K = {kind[2]}: median {seconds:.1f} s to the first labels")
    print(f"longest stall {max(row[7] for row in rows)} ms")


def annotate(viewer, panel, k_shot: int, annotation: str) -> None:  # type: ignore[no-untyped-def]
    """Annotate the first image, and add annotated images until there are `k_shot`."""
    from napari_fewshot_cells.plugin.layers.sample_data import SEED
    from napari_fewshot_cells.simulate import fluorescent_cells, partial_annotation, scribbles

    paint = {"painted": partial_annotation, "strokes": scribbles}[annotation]
    annotations = panel.session.annotations
    first = panel.session.image
    ((_, painted),) = annotations.items()[:1]
    painted.layer.data = paint(fluorescent_cells(seed=SEED)[1], seed=SEED)
    for number in range(len(annotations.items()), k_shot):
        pixels, truth = fluorescent_cells(seed=SEED + number)
        image = viewer.add_image(pixels, name=f"cells {number}")
        annotations.create(image).data = paint(truth, seed=SEED + number)
    panel.session.choose(image=first)
    rest(3)
    wait(panel.fine_tune_button.isEnabled)


def measure(  # type: ignore[no-untyped-def]
    panel, network: str, annotation: str, k_shot: int, run: int
) -> tuple[object, ...]:
    """One row."""
    from napari_fewshot_cells.plugin.layers.sample_data import SEED
    from napari_fewshot_cells.prediction.metrics import iou
    from napari_fewshot_cells.simulate import fluorescent_cells
    from napari_fewshot_cells.training import provenance

    first, seconds, gaps = press(panel)
    labels = panel.session.results.of(panel.session.image).data
    quality = iou(labels, fluorescent_cells(seed=SEED)[1])
    stall, p99 = round(float(gaps.max())), round(float(np.percentile(gaps, 99)))
    origin = (provenance.commit(), provenance.now(), provenance.machine())
    measured = (f"{first:.2f}", f"{seconds:.2f}", f"{quality:.3f}", stall, p99)
    row = (network, annotation, k_shot, run, *measured, *origin)
    print(*row[:9], flush=True)
    return row


if __name__ == "__main__":
    main()
