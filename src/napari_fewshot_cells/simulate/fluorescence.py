"""Simulate fluorescent nuclei."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from .field import (
    Floats,
    Labels,
    Point,
    check_shape,
    list_objects,
    smooth_noise,
    window_around,
    without_seams,
    wobbly_outline,
)

RADIUS = 14.0  # px: nuclei of about 28 px
AREA_PER_NUCLEUS = 3200.0  # px² of the image for each


def fluorescent_cells(
    shape: tuple[int, int] = (512, 512), seed: int = 0
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Fluorescent nuclei of about 28 px in the counts of a 12-bit camera.

    Nuclei have smooth irregular outlines, chromatin texture and nucleoli; some touch, and their brightness
    differs fivefold. The image has cytoplasmic haze, uneven illumination, blur, photon noise and read noise.

    Parameters
    ----------
    shape
        (H, W) in px, each at least 64.
    seed
        The same seed gives the same image.

    Returns
    -------
    image
        uint16 (H, W), camera counts from 0 to 4095.
    labels
        int32 (H, W), 0 background, 1, 2, … one number for each nucleus.

    Raises
    ------
    ValueError
        A side of `shape` is below 64 px.
    """
    rng = np.random.default_rng([seed, 1])
    check_shape(shape)
    labels, outside = _nuclei(rng, shape)
    numbers = np.arange(1, labels.max() + 1)

    # Log-normal, because real fields mix dim G1 nuclei with a few very bright condensed ones.
    brightness = np.clip(rng.lognormal(mean=-0.25, sigma=0.36, size=len(numbers) + 1), 0.34, 1.6)
    brightness[0] = 0.0
    chromatin = 1 + 0.13 * smooth_noise(rng, shape, 1.6) + 0.12 * smooth_noise(rng, shape, 4.0)
    dome = 0.68 + 0.32 * np.clip(ndi.distance_transform_edt(without_seams(labels)) / 8, 0, 1)
    nuclei = brightness[labels] * np.clip(chromatin, 0.35, 1.8) * dome * _nucleoli(rng, labels)

    near = np.exp(-outside / 9.0) * (labels == 0)
    cytoplasm = 0.045 * near * np.clip(1 + 0.5 * smooth_noise(rng, shape, 5.0), 0, None)
    scene = nuclei + cytoplasm + _debris(rng, shape)
    optics = 0.86 * ndi.gaussian_filter(scene, 1.25) + 0.14 * ndi.gaussian_filter(scene, 14.0)
    photons = 900.0 * (optics * _illumination(rng, shape) + 0.035)
    counts = rng.poisson(np.clip(photons, 0, None)) * 1.45 + rng.normal(110.0, 7.0, shape)
    return np.clip(np.round(counts), 0, 4095).astype(np.uint16), labels


def _nuclei(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Labels, Floats]:
    """Instance labels, and the distance of each background pixel to the nearest nucleus (px)."""
    labels = np.zeros(shape, np.int32)
    placed: list[tuple[float, float, float]] = []
    wanted = max(4, round(shape[0] * shape[1] / AREA_PER_NUCLEUS))
    for _ in range(wanted * 30):
        if len(placed) == wanted:
            break
        radius = RADIUS * float(np.clip(rng.normal(1.0, 0.13), 0.72, 1.4))
        touching = bool(placed) and rng.random() < 0.4
        if touching:
            other = placed[int(rng.integers(len(placed)))]
            angle, gap = rng.uniform(0, 2 * np.pi), 0.93 * (radius + other[2])
            centre = (other[0] + gap * np.sin(angle), other[1] + gap * np.cos(angle))
        else:
            centre = (rng.uniform(0, shape[0]), rng.uniform(0, shape[1]))
        if not (-4 < centre[0] < shape[0] + 4 and -4 < centre[1] < shape[1] + 4):
            continue
        nearest = min(
            (np.hypot(centre[0] - p[0], centre[1] - p[1]) / (radius + p[2]) for p in placed), default=9
        )
        if nearest < (0.92 if touching else 1.25):
            continue
        if _stamp_nucleus(rng, labels, centre, radius, len(placed) + 1):
            placed.append((*centre, radius))
    return labels, ndi.distance_transform_edt(labels == 0).astype(np.float32)


def _stamp_nucleus(
    rng: np.random.Generator, labels: Labels, centre: Point, radius: float, number: int
) -> bool:
    """Draw a nucleus in place and return True, unless others are in its way."""
    window, dy, dx = window_around((labels.shape[0], labels.shape[1]), centre, 2 * radius)
    tilt, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.22)
    u = (np.cos(tilt) * dx + np.sin(tilt) * dy) / stretch
    v = (-np.sin(tilt) * dx + np.cos(tilt) * dy) * stretch
    shape = np.hypot(u, v) <= radius * wobbly_outline(rng, np.arctan2(v, u), 0.11)
    free = shape & (labels[window] == 0)
    # A nucleus that is mostly hidden by a neighbour would be a sliver that nobody would call a cell.
    if free.sum() < 0.8 * shape.sum() or free.sum() < 120:
        return False
    pieces, n = ndi.label(free)
    if n > 1:
        free = pieces == 1 + np.argmax(ndi.sum_labels(free, pieces, range(1, n + 1)))
    labels[window][free] = number
    return True


def _nucleoli(rng: np.random.Generator, labels: Labels) -> Floats:
    """Factor of the brightness, below 1 in nucleoli, which take up no dye."""
    factor = np.ones(labels.shape, np.float32)
    for _, middle, area, _ in list_objects(labels):
        for _ in range(int(rng.integers(1, 4))):
            spread = 0.25 * np.sqrt(area)
            centre = (middle[0] + rng.uniform(-spread, spread), middle[1] + rng.uniform(-spread, spread))
            size = rng.uniform(1.3, 2.5)
            window, dy, dx = window_around((labels.shape[0], labels.shape[1]), centre, 4 * size)
            factor[window] *= 1 - rng.uniform(0.2, 0.5) * np.exp(-(dy**2 + dx**2) / (2 * size**2))
    return factor


def _debris(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Brightness of decoys: small bright specks and large out-of-focus glows."""
    scene = np.zeros(shape, np.float32)
    area = shape[0] * shape[1] / 512**2
    for count, size, light in ((10, (0.8, 1.6), (0.2, 0.7)), (4, (18.0, 34.0), (0.02, 0.06))):
        for _ in range(max(1, round(count * area))):
            sigma = rng.uniform(*size)
            centre = (rng.uniform(0, shape[0]), rng.uniform(0, shape[1]))
            window, dy, dx = window_around(shape, centre, 3 * sigma)
            scene[window] += rng.uniform(*light) * np.exp(-(dy**2 + dx**2) / (2 * sigma**2))
    return scene


def _illumination(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Illumination: brightest near a point off the middle, about 60 % in the far corner."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    cy, cx = rng.uniform(0.35, 0.65, 2) * shape
    far = ((y - cy) / shape[0]) ** 2 + ((x - cx) / shape[1]) ** 2
    field: Floats = (1.08 - 0.75 * far).astype(np.float32)
    return field
