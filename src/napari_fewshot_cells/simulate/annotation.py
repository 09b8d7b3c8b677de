"""Partial annotations as a person would paint them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from .field import Point, list_objects, random_place, window_around


def partial_annotation(
    labels: NDArray[np.integer], seed: int = 0, n_cells: int = 8, n_strokes: int = 5
) -> NDArray[np.int32]:
    """What a person would paint in about a minute: a few cells, their surroundings, some background.

    Parameters
    ----------
    labels
        Instance labels (H, W), 0 background.
    seed
        The same seed gives the same annotation.
    n_cells
        Cells to paint; all of them where there are fewer.
    n_strokes
        Brush strokes that wander through the background.

    Returns
    -------
    int32 (H, W): 0 not annotated, 1 background, 2, 3, … the painted cells. No pixel is painted wrongly.
    """
    truth = np.asarray(labels)
    rng = np.random.default_rng([seed, 3])
    annotation = np.zeros(truth.shape, np.int32)
    clearance = ndi.distance_transform_edt(truth == 0) if (truth > 0).any() else np.full(truth.shape, 1e3)
    for value, (number, centre) in enumerate(_cells_to_paint(rng, truth, n_cells), start=2):
        cell = truth == number
        annotation[cell] = value
        annotation[_collar(rng, cell, centre) & (truth == 0)] = 1
    for _ in range(n_strokes):
        annotation[_stroke(rng, clearance) & (truth == 0)] = 1
    return annotation


def _cells_to_paint(
    rng: np.random.Generator, truth: NDArray[np.integer], n_cells: int
) -> Iterator[tuple[int, Point]]:
    """Whole cells first, spread over the image as a person's eye would spread them."""
    objects = list_objects(truth)
    candidates = [o for o in objects if o[3]] + [o for o in objects if not o[3]]
    whole = sum(o[3] for o in objects)
    chosen: list[int] = []
    while len(chosen) < min(n_cells, len(candidates)):
        left = [i for i in range(len(candidates)) if i not in chosen]
        pool = [i for i in left if i < whole] or left
        # Best of three: far from what is painted already, but not the same cells on every seed.
        few = rng.choice(pool, size=min(3, len(pool)), replace=False)
        spots = np.array([candidates[i][1] for i in chosen]).reshape(-1, 2)
        apart = [np.hypot(*(spots - candidates[i][1]).T).min() if len(spots) else 0.0 for i in few]
        chosen.append(int(few[int(np.argmax(apart))]))
    for i in chosen:
        yield candidates[i][0], candidates[i][1]


def _collar(rng: np.random.Generator, cell: NDArray[np.bool_], centre: Point) -> NDArray[np.bool_]:
    """A brush stroke around most of a cell, a little off its border as a hand would leave it."""
    reach = 14 + int(np.sqrt(cell.sum()))
    window, dy, dx = window_around((cell.shape[0], cell.shape[1]), centre, 1.5 * reach)
    distance = ndi.distance_transform_edt(~cell[window])
    angle = np.arctan2(dy, dx)
    inner = 1.6 + 0.9 * np.sin(2 * angle + rng.uniform(0, 2 * np.pi))
    turned = np.mod(angle - rng.uniform(0, 2 * np.pi), 2 * np.pi)
    band = (distance > inner) & (distance <= inner + 4) & (turned < rng.uniform(0.7, 1.0) * 2 * np.pi)
    collar = np.zeros(cell.shape, bool)
    collar[window] = band
    return collar


def _stroke(rng: np.random.Generator, clearance: NDArray[np.floating]) -> NDArray[np.bool_]:
    """A wandering stroke 6 px thick that turns away before it meets a cell."""
    stroke = np.zeros(clearance.shape, bool)
    height, width = clearance.shape
    start = random_place(rng, clearance > min(8.0, float(clearance.max()) * 0.7))
    if start is None:
        return stroke
    (row, col), angle = start, rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(22, 40))):
        turns = angle + np.array([0.0, 0.3, -0.3, 0.7, -0.7, 1.2, -1.2, 2.0, -2.0]) + rng.normal(0, 0.12)
        ends = [(row + 5 * np.sin(a), col + 5 * np.cos(a)) for a in turns]
        open_ends = [
            (a, e)
            for a, e in zip(turns, ends, strict=True)
            if 3 <= e[0] < height - 3 and 3 <= e[1] < width - 3 and clearance[int(e[0]), int(e[1])] > 4.5
        ]
        if not open_ends:
            break
        angle, end = open_ends[0]
        t = np.linspace(0, 1, 7)
        stroke[(row + t * (end[0] - row)).astype(int), (col + t * (end[1] - col)).astype(int)] = True
        row, col = end
    thick: NDArray[np.bool_] = ndi.distance_transform_edt(~stroke) < 3.3
    return thick
