"""From a probability to new labels: the cost of one move of each slider, in milliseconds.

taskset -c 1 python benchmarks/instances.py [--moves 20]

A simulated 1024×1024 image of touching cells, with noise in the probability. `cpu` is the thread's own time,
which other work on the machine disturbs less; `wall` is the time a person waits. What a slider does not
change is reused from the previous move, as in the panel.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_fewshot_cells.plugin.jobs.predictions import (
    ObjectSettings,
    Prediction,
    SplitForeground,
    make_objects,
)
from napari_fewshot_cells.prediction.measurements import measure
from napari_fewshot_cells.simulate import fluorescent_cells
from napari_fewshot_cells.training import provenance

SIZE, DIAMETER = 1024, 30.0
COLUMNS = (
    "step",
    "objects",
    "cpu_median_ms",
    "cpu_worst_ms",
    "wall_median_ms",
    "wall_worst_ms",
    "moves",
    "commit",
    "date",
    "machine",
)


def sample() -> np.ndarray:
    """A probability, (1024, 1024), with the soft and noisy edges of a network's."""
    _, labels = fluorescent_cells((SIZE, SIZE), seed=0)
    noise = np.random.default_rng(0).normal(0, 0.5, labels.shape)
    logits = gaussian_filter(6.0 * (labels > 0) - 3 + noise, 1.5)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def slider_moves(moves: int) -> Iterator[tuple[str, list[ObjectSettings]]]:
    """Each slider, drawn over its range."""
    yield "threshold", [ObjectSettings(float(value)) for value in np.linspace(0.05, 0.95, moves)]
    yield "smallest", [ObjectSettings(min_size=int(value)) for value in np.linspace(1, 1400, moves)]
    yield "fill holes", [ObjectSettings(max_hole=int(value)) for value in np.linspace(0, 700, moves)]


def clock(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a function returns, and its milliseconds of thread time and of wall time."""
    cpu, wall = time.thread_time(), time.perf_counter()
    value = function()
    return value, 1000 * (time.thread_time() - cpu), 1000 * (time.perf_counter() - wall)


def row(step: str, objects: list[int], times: list[tuple[float, float]]) -> tuple[Any, ...]:
    """Median and worst of the moves of one slider."""
    cpu, wall = zip(*times, strict=True)
    numbers = [f"{f(values):.1f}" for values in (cpu, wall) for f in (statistics.median, max)]
    origin = (provenance.commit(), provenance.now(), provenance.machine())
    return (step, f"{min(objects)}-{max(objects)}", *numbers, len(times), *origin)


def main() -> None:
    """Move every slider, then time the measuring that follows when a slider rests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("docs/results/instances.csv"))
    arguments = parser.parse_args()
    prediction = Prediction(None, sample(), DIAMETER, {})  # type: ignore[arg-type] - no layer is involved
    rows = []
    for step, settings in slider_moves(arguments.moves):
        before: SplitForeground | None = make_objects(prediction, ObjectSettings())[1]
        objects, times = [], []
        for chosen in settings:
            (result, before), *spent = clock(lambda c=chosen, b=before: make_objects(prediction, c, b))
            objects.append(int(result.labels.max()))
            times.append(tuple(spent))
        rows.append(row(step, objects, times))
        print(*rows[-1][:6], flush=True)
    labels, before = make_objects(prediction, ObjectSettings())[0].labels, None
    times = [clock(lambda: measure(labels, prediction.probability))[1:] for _ in range(3)]
    rows.append(row("measuring, at rest", [int(labels.max())], times))
    print(*rows[-1][:6], flush=True)
    with arguments.out.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


if __name__ == "__main__":
    main()
