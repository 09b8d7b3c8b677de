"""The first preview: how soon it comes, and how good it is against the model at the end of the training.

python benchmarks/first_preview.py --data DATA --starts OUT/starts [--selections 3]

The button's recipe and network on whole images, K = 1, leaving the target out as `fewshot.py` does, with all
processor threads. The view is the middle of one test image, previewed as in the panel's worker thread.
Seconds count from the start of the training. The IoU of the preview and that of the final model are on the
same pixels. Writes first-preview.csv and first-preview.md in docs/results. Run it when nothing else runs.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median

from fewshot_targets import TARGETS, Target, annotate, load_target
from napari_fewshot_cells.base.host_process import keep_freed_memory
from napari_fewshot_cells.experiment.few_shot_test import select
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.models.model import Model
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.plugin.jobs.preview_job import Preview, View, with_previews
from napari_fewshot_cells.plugin.layers.plane_source import Source
from napari_fewshot_cells.prediction.measurements import PixelSize
from napari_fewshot_cells.prediction.metrics import iou
from napari_fewshot_cells.prediction.probability import predict
from napari_fewshot_cells.training import provenance
from report import Row, origin, read, spread, table, write_page

SHARE, SECONDS = 0.9, 2.5
N_TEST = 10
COLUMNS = (
    "target", "selection", "preview_seconds", "preview_iou", "seconds", "final_iou",
    "commit", "date", "machine",
)  # fmt: skip


def main() -> None:
    """Run all selections of all targets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--starts", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--selections", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/results/first-preview.csv"))
    options = parser.parse_args()
    keep_freed_memory()
    rows = []
    for name in options.targets:
        target = load_target(name, options.data)
        left_out = "TNBC" if name == "phase" else name
        start = read_model(options.starts / f"half-unet-{left_out}-transfer" / "model.safetensors")
        for selection in range(options.selections):
            measured = measure(target, start, selection)
            stamp = (provenance.commit(), provenance.now(), provenance.machine())
            rows.append((name, selection, *measured, *stamp))
            print(*rows[-1][:6], flush=True)
    with options.out.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    report(read(options.out.name), options.out.with_suffix(".md"))


def measure(target: Target, start: Model, selection: int) -> tuple[str, ...]:
    """Seconds and IoU of the first preview, and of the model at the end."""
    support, test = select(len(target.shots), 1, selection, N_TEST)
    shots, seen = annotate(target, support, "whole"), target.shots[test[0]]
    height, width = seen.plane.shape
    source = Source(None, "seen", seen.plane.pixels, False, (height, width), (None, None), PixelSize())  # type: ignore[arg-type]
    view = View(source, (slice(0, height), slice(0, width)))
    copies: list[Callable[[], Model]] = []
    begun = time.perf_counter()
    training = with_previews(
        fine_tune(start, shots, seed=selection, watch=copies.append),
        copies,
        lambda: view,
        {source: seen.plane},
    )
    first: tuple[float, Preview] | None = None
    while True:
        try:
            event = next(training)
        except StopIteration as end:
            model: Model = end.value
            break
        if first is None and isinstance(event, Preview):
            first = time.perf_counter() - begun, event
    seconds = time.perf_counter() - begun
    assert first is not None, "the training ended before the first preview"
    when, preview = first
    truth, final = seen.labels[preview.part], predict(model, seen.plane)[preview.part]
    return (
        f"{when:.2f}",
        f"{iou(preview.probability > 0.5, truth):.4f}",
        f"{seconds:.2f}",
        f"{iou(final > 0.5, truth):.4f}",
    )


def report(rows: Sequence[Row], path: Path) -> None:
    """As a page."""
    lines = []
    for target in dict.fromkeys(row["target"] for row in rows):
        there = [row for row in rows if row["target"] == target]
        preview, final = ([float(row[f"{which}_iou"]) for row in there] for which in ("preview", "final"))
        share = mean(preview) / mean(final)
        soon = median(float(row["preview_seconds"]) for row in there)
        met = "yes" if share >= SHARE and soon <= SECONDS else "**no**"
        lines.append(
            [target, f"{soon:.1f}", spread(preview), spread(final), f"{share:.2f}", met, str(len(there))]
        )
    header = ["target", "first preview, s", "its IoU", "final IoU", "share", "bar met", "n"]
    write_page(
        path,
        "The first preview",
        "Made by `python benchmarks/first_preview.py`, which says how. Bar: at least 90 % of the final IoU, "
        f"at most {SECONDS} s after the training began (median). One test image for each selection.",
        table(header, lines),
        origin(rows),
    )


if __name__ == "__main__":
    main()
