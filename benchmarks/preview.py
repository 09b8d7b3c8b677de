"""What the live preview costs the training: the same fine-tuning with and without it, in turn.

python benchmarks/preview.py [--rounds 5]

FCRN with the button's own recipe at K = 1, on a simulated 512×512 image with a partial annotation, all of it
in view. Runs the work of the worker thread, without a window. Because both take turns, a change of the
machine's speed affects both alike, and the ratio of medians stays. Processor seconds serve as a check if
other work shares the cores. The weights of all runs are compared bit for bit. Writes preview.csv and
preview.md in docs/results.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from statistics import median

from napari_fewshot_cells.data.support_set import make_shot, make_support_set
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.model import Model, weights_sha256
from napari_fewshot_cells.models.registry import DEFAULT
from napari_fewshot_cells.plugin.jobs.preview_job import TIME_SHARE, Preview, View, with_previews
from napari_fewshot_cells.plugin.layers.plane_source import Source
from napari_fewshot_cells.prediction.measurements import PixelSize
from napari_fewshot_cells.simulate import fluorescent_cells, partial_annotation
from napari_fewshot_cells.training import provenance
from report import RESULTS, origin, read, table

SIDE = 512
COLUMNS = ("round", "preview", "seconds", "cpu_seconds", "previews", "weights", "commit", "date", "machine")


def train(start: Model, *, preview: bool) -> tuple[object, ...]:
    """Run one training as the panel does; wall seconds, processor seconds, number of previews, weights."""
    image, labels = fluorescent_cells((SIDE, SIDE), seed=0)
    source = Source(None, "simulated", image, False, image.shape, (None, None), PixelSize())  # type: ignore[arg-type]
    shot = make_shot(source.read(), partial_annotation(labels, seed=0))
    view = View(source, (slice(0, SIDE), slice(0, SIDE))) if preview else None
    copies: list = []
    training = fine_tune(start, make_support_set([shot]), recipe=Recipe(), watch=copies.append)
    steps = with_previews(training, copies, lambda: view, {source: shot.plane})
    wall, cpu, n_previews = time.perf_counter(), time.process_time(), 0
    while True:
        try:
            n_previews += isinstance(next(steps), Preview)
        except StopIteration as end:
            seconds = f"{time.perf_counter() - wall:.2f}", f"{time.process_time() - cpu:.2f}"
            return *seconds, n_previews, weights_sha256(end.value)[:12]


def measure(rounds: int) -> None:
    """Take turns, and alternate which goes first."""
    start = load_model(DEFAULT)
    train(start, preview=True)  # the first calls include set-up
    rows = []
    for number in range(rounds):
        for preview in (False, True) if number % 2 else (True, False):
            measured = train(start, preview=preview)
            kind = "with" if preview else "without"
            origin = provenance.commit(), provenance.now(), provenance.machine()
            rows.append((number, kind, *measured, *origin))
            print(*rows[-1][:6], flush=True)
    with (RESULTS / "preview.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def report() -> str:
    """The page."""
    rows = read("preview.csv")
    of = {kind: [row for row in rows if row["preview"] == kind] for kind in ("without", "with")}
    medians = {
        kind: [median(float(row[column]) for row in group) for column in COLUMNS[2:5]]
        for kind, group in of.items()
    }
    lines = [
        [kind, *(f"{value:.2f}" for value in medians[kind][:2]), f"{medians[kind][2]:g}", str(len(of[kind]))]
        for kind in of
    ]
    ratios = [medians["with"][n] / medians["without"][n] for n in (0, 1)]
    same = "the same bit for bit" if len({row["weights"] for row in rows}) == 1 else "**not the same**"
    words = (
        f"Ratio of medians: {ratios[0]:.3f} in time, {ratios[1]:.3f} in processor time (bar: 1.15). "
        f"Weights of all runs: {same}. Previews may take {100 * TIME_SHARE:.0f} % of either time so far."
    )
    header = ["preview", "seconds", "processor seconds", "previews", "n"]
    return (
        "# What the live preview costs the training\n\n"
        "Made by `python benchmarks/preview.py`: FCRN, K = 1, 512 × 512 px in view; medians.\n\n"
        f"{table(header, lines)}\n\n{words} {origin(rows)}\n"
    )


def main() -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report-only", action="store_true", help="only make the page from the stored rows")
    arguments = parser.parse_args()
    if not arguments.report_only:
        measure(arguments.rounds)
    page: Path = RESULTS / "preview.md"
    page.write_text(report(), encoding="utf-8")
    print(page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
