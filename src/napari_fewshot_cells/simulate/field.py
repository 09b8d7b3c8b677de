"""Building blocks of all simulated images: smooth noise, outlines, windows, random pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]
Point = tuple[float, float]

SMALLEST_SIDE = 64  # px


def check_shape(shape: tuple[int, int]) -> None:
    """Raise `ValueError` if an image of this shape is too small to simulate."""
    if len(shape) != 2 or min(shape) < SMALLEST_SIDE:
        raise ValueError(f"a simulated image needs two sides of at least {SMALLEST_SIDE} px, not {shape}")


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Floats:
    """Gaussian noise smoothed by `sigma` px, with zero mean and unit variance."""
    step = max(1, int(sigma / 3))  # coarse noise is made small, then enlarged, because a wide filter is slow
    small = (shape[0] // step + 3, shape[1] // step + 3)
    noise = ndi.gaussian_filter(rng.standard_normal(small).astype(np.float32), sigma / step, mode="wrap")
    noise /= noise.std() + 1e-9
    if step > 1:
        noise = ndi.zoom(noise, step, order=1)
        if sigma < 20:
            noise = ndi.gaussian_filter(noise, step / 2)
    result: Floats = noise[: shape[0], : shape[1]]
    return result


def wobbly_outline(rng: np.random.Generator, angle: Floats, wobble: float) -> Floats:
    """Relative radius at each angle: 1 plus a few random harmonics."""
    radius = np.ones_like(angle)
    for k in range(2, 7):
        radius += wobble * rng.normal() / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return radius


def without_seams(labels: Labels) -> NDArray[np.bool_]:
    """Foreground without the pixels at which two cells touch."""
    seam = ndi.maximum_filter(labels, 3) != labels
    interior: NDArray[np.bool_] = (labels > 0) & ~seam
    return interior


def window_around(
    shape: tuple[int, int], centre: Point, reach: float
) -> tuple[tuple[slice, slice], Floats, Floats]:
    """Window of the image within `reach` px of `centre`, and each pixel's row and column offset from it."""
    rows, cols = (
        slice(max(0, int(c - reach)), max(0, min(n, int(c + reach) + 2)))
        for c, n in zip(centre, shape, strict=True)
    )
    y, x = np.mgrid[rows, cols].astype(np.float32)
    return (rows, cols), y - np.float32(centre[0]), x - np.float32(centre[1])


def list_objects(labels: NDArray[np.integer]) -> list[tuple[int, Point, int, bool]]:
    """Number, centre and area (px²) of each object, and whether it is clear of the image's edge."""
    found = []
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        if box is None:
            continue
        rows, cols = np.nonzero(labels[box] == number)
        centre = (float(rows.mean() + box[0].start), float(cols.mean() + box[1].start))
        clear = all(b.start > 0 and b.stop < n for b, n in zip(box, labels.shape, strict=True))
        found.append((number, centre, len(rows), clear))
    return found


def random_place(rng: np.random.Generator, allowed: NDArray[np.bool_]) -> Point | None:
    """A random allowed pixel; None if there is none."""
    places = np.flatnonzero(allowed)
    if len(places) == 0:
        return None
    row, col = divmod(int(rng.choice(places)), allowed.shape[1])
    return float(row), float(col)
