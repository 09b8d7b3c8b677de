"""Simulate phase contrast of adherent cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from .field import (
    Floats,
    Labels,
    Point,
    check_shape,
    random_place,
    smooth_noise,
    window_around,
    wobbly_outline,
)

RADIUS = 18.0  # px: of the disc with a cell's area
AREA_PER_CELL = 3600.0  # px² of the image for each
HALO = 5.5  # px: how far the phase ring blurs a cell's light


def phase_contrast(
    shape: tuple[int, int] = (512, 512), seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Adherent cells of about 36 px in phase contrast.

    Cells are elongated, with a dark rim, a granular interior nearly as bright as the background (shade-off)
    and a bright halo. The background is uneven, with floating specks; the camera adds noise. The halo is
    brighter and the rim darker than anything else, so no threshold separates cells from background.

    Parameters
    ----------
    shape
        (H, W) in px, each at least 64.
    seed
        The same seed gives the same image.

    Returns
    -------
    image
        uint8 (H, W).
    labels
        int32 (H, W), 0 background, 1, 2, … one number for each cell.

    Raises
    ------
    ValueError
        A side of `shape` is below 64 px.
    """
    rng = np.random.default_rng([seed, 4])
    check_shape(shape)
    labels = _cells(rng, shape)
    thickness = _thickness(rng, labels)
    # The phase ring passes fine detail and blocks coarse detail. It subtracts a cell's blurred image from the
    # cell, which leaves a rim, a shaded-off middle and, outside, the halo.
    seen = 1.1 * ndi.gaussian_filter(thickness, HALO) - thickness
    uneven = _background(rng, shape) + 0.012 * smooth_noise(rng, shape, 8.0)
    scene = 0.6 * seen + uneven + _specks(rng, labels)
    scene = ndi.gaussian_filter(scene, 0.8)
    scene += 0.022 * rng.standard_normal(shape) + 0.012 * smooth_noise(rng, shape, 0.8)
    return np.clip(np.round(255 * scene), 0, 255).astype(np.uint8), labels


def _cells(rng: np.random.Generator, shape: tuple[int, int]) -> Labels:
    labels = np.zeros(shape, np.int32)
    wanted = max(4, round(shape[0] * shape[1] / AREA_PER_CELL))
    number = 0
    for _ in range(wanted * 30):
        if number == wanted:
            break
        centre = (rng.uniform(0, shape[0]), rng.uniform(0, shape[1]))
        number += _stamp_cell(rng, labels, centre, number + 1)
    return labels


def _stamp_cell(rng: np.random.Generator, labels: Labels, centre: Point, number: int) -> bool:
    """Draw a cell in place and return True, unless others are in its way."""
    radius = RADIUS * float(np.clip(rng.normal(1.0, 0.15), 0.7, 1.4))
    tilt, stretch = rng.uniform(0, np.pi), np.sqrt(rng.uniform(1.0, 2.4))
    window, dy, dx = window_around((labels.shape[0], labels.shape[1]), centre, 2.4 * radius)
    u = (np.cos(tilt) * dx + np.sin(tilt) * dy) / stretch
    v = (-np.sin(tilt) * dx + np.cos(tilt) * dy) * stretch
    cell = np.hypot(u, v) <= radius * wobbly_outline(rng, np.arctan2(v, u), 0.16)
    free = cell & (labels[window] == 0)
    if free.sum() < max(150, 0.92 * cell.sum()):
        return False
    pieces, n = ndi.label(free)
    if n > 1:
        free = pieces == 1 + np.argmax(ndi.sum_labels(free, pieces, range(1, n + 1)))
    labels[window][free] = number
    return True


def _thickness(rng: np.random.Generator, labels: Labels) -> Floats:
    """Phase delay of each pixel: a flat dome for each cell, with grains in it."""
    shape = (labels.shape[0], labels.shape[1])
    inside = labels > 0
    seam = inside & (ndi.minimum_filter(labels, 3) != labels)
    depth = ndi.distance_transform_edt(inside & ~seam)
    own = rng.uniform(0.55, 1.0, int(labels.max()) + 1)[labels]
    dome = 0.6 + 0.4 * np.clip(depth / 3, 0, 1)
    grains = 0.18 * smooth_noise(rng, shape, 1.5) + 0.20 * smooth_noise(rng, shape, 3.5)
    thickness: Floats = np.where(inside, own * (dome + grains * np.clip(depth / 4, 0, 1)), 0).astype(
        np.float32
    )
    return thickness


def _background(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Brightness of an empty dish: brighter to one side, with broad shadows."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    angle, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.06, 0.06)
    tilt = 0.09 * (np.cos(angle) * x + np.sin(angle) * y)
    shadows = bend * (x**2 + y**2) + 0.015 * smooth_noise(rng, shape, 25.0)
    field: Floats = (0.43 + tilt + shadows).astype(np.float32)
    return field


def _specks(rng: np.random.Generator, labels: Labels) -> Floats:
    """Brightness of dust and vesicles between the cells, each with a ring."""
    shape = (labels.shape[0], labels.shape[1])
    scene = np.zeros(shape, np.float32)
    for _ in range(max(2, round(labels.size / 7000))):
        centre = random_place(rng, labels == 0)
        if centre is None:
            break
        size = rng.uniform(0.9, 2.6)
        window, dy, dx = window_around(shape, centre, 5 * size)
        far = (dy**2 + dx**2) / (2 * size**2)
        scene[window] += rng.choice([-1, 1]) * rng.uniform(0.1, 0.3) * (1 - far) * np.exp(-far)
    return scene
