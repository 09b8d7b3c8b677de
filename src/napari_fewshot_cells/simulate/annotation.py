"""Simulate partial annotations as a person would paint them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from .field import Point, list_objects, random_place, window_around


def partial_annotation(
    labels: NDArray[np.integer], seed: int = 0, n_cells: int = 8, n_strokes: int = 5
) -> NDArray[np.int32]:
    """Simulate a minute of painting: a few whole cells, a collar around each, and some background.

    Parameters
    ----------
    labels
        Instance labels (H, W), 0 background.
    seed
        The same seed gives the same annotation.
    n_cells
        Cells to paint; all of them if there are fewer.
    n_strokes
        Brush strokes through the background.

    Returns
    -------
    int32 (H, W): 0 not annotated, 1 background, 2, 3, … the painted cells. No pixel has a wrong label.
    """
    truth = np.asarray(labels)
    rng = np.random.default_rng([seed, 3])
    annotation = np.zeros(truth.shape, np.int32)
    clearance = _clearance(truth)
    for value, (number, centre) in enumerate(_cells_to_paint(rng, truth, n_cells), start=2):
        cell = truth == number
        annotation[cell] = value
        annotation[_collar(rng, cell, centre) & (truth == 0)] = 1
    for _ in range(n_strokes):
        annotation[_background_stroke(rng, clearance) & (truth == 0)] = 1
    return annotation


def scribbles(
    labels: NDArray[np.integer], seed: int = 0, n_cells: int = 8, n_strokes: int = 5, share: float = 0.02
) -> NDArray[np.int32]:
    """Simulate a few seconds of scribbling: strokes through a few cells and through the background.

    Cells get half of the pixels that may be painted. A stroke in a cell follows its long axis. In the
    background, strokes in turn run along the border of a painted cell and at random.

    Parameters
    ----------
    labels
        Instance labels (H, W), 0 background.
    seed
        The same seed gives the same annotation.
    n_cells, n_strokes
        Number of scribbled cells, one stroke each, and of strokes in the background; fewer if there is no
        room.
    share
        Largest share of all pixels to paint. A stroke that would exceed it ends there.

    Returns
    -------
    int32 (H, W): 0 not annotated, 1 background, 2, 3, … the scribbled cells. No pixel has a wrong label.
    """
    truth = np.asarray(labels)
    rng = np.random.default_rng([seed, 5])
    annotation = np.zeros(truth.shape, np.int32)
    half = int(share * truth.size / 2)
    brush = max(1.5, min(truth.shape) / 256)  # radius; 4 px thick on 512 px, half the panel's brush
    clearance = _clearance(truth)
    chosen = list(_cells_to_paint(rng, truth, n_cells))
    room = half
    for value, (number, _) in enumerate(chosen, start=2):
        room -= _paint_path(annotation, _long_axis(truth == number), brush, truth == number, value, room)
    beside = [_beside_border(rng, truth == number) for number, _ in chosen]
    room = half
    for i in range(n_strokes):
        path = beside.pop() if i % 2 == 0 and beside else _random_path(rng, clearance)
        room -= _paint_path(annotation, path, brush, truth == 0, 1, room)
    return annotation


def _paint_path(
    annotation: NDArray[np.int32],
    path: Iterable[Point],
    radius: float,
    allowed: NDArray[np.bool_],
    value: int,
    room: int,
) -> int:
    """Draw a stroke with a round brush, at most `room` pixels; returns the number of pixels painted."""
    painted = 0
    height, width = annotation.shape
    for centre in path:
        if not (0 <= centre[0] < height and 0 <= centre[1] < width):  # a bent cell's axis leaves the image
            continue
        window, dy, dx = window_around((height, width), centre, radius + 1)
        dab = (np.hypot(dy, dx) <= radius) & allowed[window] & (annotation[window] == 0)
        if painted + dab.sum() > room:
            break
        annotation[window][dab] = value
        painted += int(dab.sum())
    return painted


def _long_axis(cell: NDArray[np.bool_]) -> list[Point]:
    """Points along 90 % of a cell's long axis, about a pixel apart; people stop before the ends."""
    places = np.argwhere(cell).astype(np.float64)
    middle = places.mean(axis=0)
    direction = np.linalg.eigh(np.cov(places.T))[1][:, -1] if len(places) > 1 else np.array([0.0, 1.0])
    along = 0.9 * (places - middle) @ direction
    steps = np.linspace(along.min(), along.max(), max(2, round(np.ptp(along)) + 1))
    return [(float(row), float(col)) for row, col in middle + steps[:, None] * direction]


def _beside_border(rng: np.random.Generator, cell: NDArray[np.bool_]) -> list[Point]:
    """Points beside a third of a cell's border, 3 to 4 px outside."""
    distance = ndi.distance_transform_edt(~cell)
    rows, cols = np.nonzero((distance > 3) & (distance <= 4))
    middle = np.argwhere(cell).mean(axis=0)
    turned = np.mod(np.arctan2(rows - middle[0], cols - middle[1]) - rng.uniform(0, 2 * np.pi), 2 * np.pi)
    order = np.argsort(turned)[: np.count_nonzero(turned < 2 * np.pi / 3)]
    return [(float(rows[i]), float(cols[i])) for i in order]


def _cells_to_paint(
    rng: np.random.Generator, truth: NDArray[np.integer], n_cells: int
) -> Iterator[tuple[int, Point]]:
    """Number and centre of the cells to paint: whole cells first, spread over the image."""
    objects = list_objects(truth)
    candidates = [o for o in objects if o[3]] + [o for o in objects if not o[3]]
    whole = sum(o[3] for o in objects)
    chosen: list[int] = []
    while len(chosen) < min(n_cells, len(candidates)):
        left = [i for i in range(len(candidates)) if i not in chosen]
        pool = [i for i in left if i < whole] or left
        # The farthest of three random cells: spread out, but different with each seed.
        few = rng.choice(pool, size=min(3, len(pool)), replace=False)
        spots = np.array([candidates[i][1] for i in chosen]).reshape(-1, 2)
        apart = [np.hypot(*(spots - candidates[i][1]).T).min() if len(spots) else 0.0 for i in few]
        chosen.append(int(few[int(np.argmax(apart))]))
    for i in chosen:
        yield candidates[i][0], candidates[i][1]


def _collar(rng: np.random.Generator, cell: NDArray[np.bool_], centre: Point) -> NDArray[np.bool_]:
    """A stroke 4 px thick around most of a cell, 0.7 to 2.5 px outside its border."""
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


def _clearance(truth: NDArray[np.integer]) -> NDArray[np.floating]:
    """Distance of each pixel to the nearest cell, in px."""
    if not (truth > 0).any():
        return np.full(truth.shape, 1e3)
    distance: NDArray[np.floating] = ndi.distance_transform_edt(truth == 0)
    return distance


def _background_stroke(rng: np.random.Generator, clearance: NDArray[np.floating]) -> NDArray[np.bool_]:
    """A random stroke 6 px thick through the background."""
    stroke = np.zeros(clearance.shape, bool)
    path = _random_path(rng, clearance)
    if not path:
        return stroke
    for row, col in path:
        stroke[int(row), int(col)] = True
    thick: NDArray[np.bool_] = ndi.distance_transform_edt(~stroke) < 3.3
    return thick


def _random_path(rng: np.random.Generator, clearance: NDArray[np.floating]) -> list[Point]:
    """Points of a random stroke, less than a pixel apart; it turns away before it reaches a cell."""
    path: list[Point] = []
    height, width = clearance.shape
    start = random_place(rng, clearance > min(8.0, float(clearance.max()) * 0.7))
    if start is None:
        return path
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
        path += [(row + t * (end[0] - row), col + t * (end[1] - col)) for t in np.linspace(0, 1, 7)]
        row, col = end
    return path
