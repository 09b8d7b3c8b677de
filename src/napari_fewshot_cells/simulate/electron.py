"""Simulate electron micrographs of brain tissue."""

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

AREA_PER_MITOCHONDRION = 17500.0  # px² of the image for each


def electron_microscopy(
    shape: tuple[int, int] = (512, 512), seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """An electron micrograph of brain tissue; mitochondria of about 45 px are labelled.

    Neurites with dark membranes, granular cytoplasm, synaptic vesicles, tubules and dense synapses surround
    the mitochondria (double membrane, grey matrix, cristae). Membranes, vesicles and synapses are as dark as
    the mitochondria, so no threshold separates them.

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
        int32 (H, W), 0 background, 1, 2, … one number for each mitochondrion.

    Raises
    ------
    ValueError
        A side of `shape` is below 64 px.
    """
    rng = np.random.default_rng([seed, 2])
    check_shape(shape)
    labels, along = _mitochondria(rng, shape)
    neurites = _neurites(rng, labels)
    membrane, depth = _membranes(rng, neurites)

    n = int(neurites.max()) + 1
    tone = rng.uniform(0.60, 0.84, n)[neurites]
    roughness = rng.uniform(0.5, 1.5, n)[neurites]
    grain = 0.050 * smooth_noise(rng, shape, 1.4) + 0.035 * smooth_noise(rng, shape, 2.8)
    scene = tone + roughness * grain + 0.02 * smooth_noise(rng, shape, 12.0)
    scene -= _filaments(rng, neurites, depth, labels)
    scene = _vesicles(rng, scene, neurites, depth, labels)
    scene = scene * (1 - membrane) + 0.24 * membrane
    scene = _synapses(rng, scene, depth, labels)
    scene = _paint_mitochondria(rng, scene, labels, along)

    scene = ndi.gaussian_filter(scene, 0.9) + 0.035 * smooth_noise(rng, shape, 60.0)
    scene += 0.040 * rng.standard_normal(shape) + 0.022 * smooth_noise(rng, shape, 0.7)
    return np.clip(np.round(255 * scene), 0, 255).astype(np.uint8), labels


def _mitochondria(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Labels, Floats]:
    """Instance labels, and each pixel's coordinate along its mitochondrion's bent axis (px)."""
    labels = np.zeros(shape, np.int32)
    along = np.zeros(shape, np.float32)
    taken = np.zeros(shape, bool)
    wanted = max(3, round(shape[0] * shape[1] / AREA_PER_MITOCHONDRION))
    number = 0
    for _ in range(wanted * 25):
        if number == wanted:
            break
        half_width = rng.uniform(16.5, 22.5)
        half_length = half_width * rng.choice([1.05, 1.35, 1.7, 2.2], p=[0.3, 0.35, 0.25, 0.1])
        centre = (rng.uniform(0, shape[0]), rng.uniform(0, shape[1]))
        window, dy, dx = window_around(shape, centre, 1.5 * half_length)
        tilt, bend = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.0035)
        u = np.cos(tilt) * dx + np.sin(tilt) * dy
        v = -np.sin(tilt) * dx + np.cos(tilt) * dy
        v = v - bend * u**2
        angle = np.arctan2(v / half_width, u / half_length)
        # The exponent 2.4 gives a capsule with blunt ends, where 2 would give an ellipse.
        radius = (np.abs(u / half_length) ** 2.4 + np.abs(v / half_width) ** 2.4) ** (1 / 2.4)
        body = radius <= wobbly_outline(rng, angle, 0.07)
        if body.sum() < 600 or (body & taken[window]).any():
            continue
        number += 1
        labels[window][body] = number
        along[window][body] = u[body]
        near = ndi.distance_transform_edt(labels == 0) < 12
        taken |= near
    return labels, along


def _neurites(rng: np.random.Generator, mitochondria: Labels) -> Labels:
    """Regions of cytoplasm; each mitochondrion lies in one of them."""
    shape = (mitochondria.shape[0], mitochondria.shape[1])
    free = ndi.distance_transform_edt(mitochondria == 0)
    seeds = ndi.grey_dilation(mitochondria, size=9)
    number = int(mitochondria.max())
    spacing = smooth_noise(rng, shape, 70.0)
    distance = free.copy()
    for _ in range(shape[0] * shape[1] // 900):
        row, col = int(rng.integers(shape[0])), int(rng.integers(shape[1]))
        # Thin and thick neurites come in bundles, so the least distance between seeds varies slowly.
        least = float(np.clip(38 + 17 * spacing[row, col], 20, 75))
        if distance[row, col] < least:
            continue
        number += 1
        seeds[row, col] = number
        window, dy, dx = window_around(shape, (row, col), 80)
        distance[window] = np.minimum(distance[window], np.hypot(dy, dx))
    nearest = ndi.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    regions = seeds[tuple(nearest)]

    # A smooth warp turns straight Voronoi edges into membranes. It is zero near mitochondria, so that no
    # membrane cuts through one.
    rigid = np.clip((free - 4) / 26, 0, 1)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    y += rigid * (9.0 * smooth_noise(rng, shape, 28.0) + 2.5 * smooth_noise(rng, shape, 9.0))
    x += rigid * (9.0 * smooth_noise(rng, shape, 28.0) + 2.5 * smooth_noise(rng, shape, 9.0))
    warped = ndi.map_coordinates(regions, [y, x], order=0, mode="nearest")
    smooth: Labels = ndi.median_filter(warped, 5).astype(np.int32)
    return smooth


def _membranes(rng: np.random.Generator, neurites: Labels) -> tuple[Floats, Floats]:
    """Darkness of the membranes (0 to 1), and the depth of each pixel within its neurite (px)."""
    shape = (neurites.shape[0], neurites.shape[1])
    border = ndi.maximum_filter(neurites, 2) != ndi.minimum_filter(neurites, 2)
    depth = ndi.gaussian_filter(ndi.distance_transform_edt(~border).astype(np.float32), 1.2)
    width = np.clip(2.0 + 0.5 * smooth_noise(rng, shape, 20.0), 1.2, 3.4)
    sheet = np.exp(-((np.clip(depth - 0.9, 0, None) / width) ** 2))
    # In places the cleft between two neurites opens and shows as a thin pale line.
    cleft = np.clip(smooth_noise(rng, shape, 18.0) - 0.2, 0, 1) * np.exp(-((depth / 1.5) ** 2))
    # Membranes that are cut obliquely are faint.
    fade = np.clip(0.86 + 0.12 * smooth_noise(rng, shape, 10.0), 0.35, 1.0)
    return np.clip(sheet * fade - 0.75 * cleft, 0, 1).astype(np.float32), depth


def _filaments(rng: np.random.Generator, neurites: Labels, depth: Floats, mitochondria: Labels) -> Floats:
    """Darkness of short tubules and cytoskeleton within the neurites."""
    shape = (neurites.shape[0], neurites.shape[1])
    ink = np.zeros(shape, np.float32)
    allowed = (depth > 6) & (mitochondria == 0)
    for _ in range(round(neurites.size / 2600)):
        start = random_place(rng, allowed)
        if start is None:
            break
        home, angle = neurites[int(start[0]), int(start[1])], rng.uniform(0, 2 * np.pi)
        dark, thick = rng.uniform(0.12, 0.42), rng.random() < 0.35
        row, col = start
        for _ in range(int(rng.integers(6, 26))):
            r, c = round(row), round(col)
            if not (0 <= r < shape[0] - 1 and 0 <= c < shape[1] - 1) or neurites[r, c] != home:
                break
            ink[r : r + 1 + thick, c : c + 1 + thick] = dark
            angle += rng.normal(0, 0.22)
            row, col = row + 1.2 * np.sin(angle), col + 1.2 * np.cos(angle)
    blurred: Floats = 1.7 * ndi.gaussian_filter(ink, 0.9)
    return blurred


def _vesicles(
    rng: np.random.Generator, scene: Floats, neurites: Labels, depth: Floats, mitochondria: Labels
) -> Floats:
    """Paint clusters of synaptic vesicles in some neurites, and some large vacuoles as decoys."""
    shape = (scene.shape[0], scene.shape[1])
    painted = scene.copy()
    clear = ndi.distance_transform_edt(mitochondria == 0) > 6
    terminals = rng.random(int(neurites.max()) + 1) < 0.42
    crowd = smooth_noise(rng, shape, 10.0) > -0.5
    allowed = clear & (depth > 6) & terminals[neurites] & crowd
    for _ in range(round(allowed.sum() / 62)):
        centre = random_place(rng, allowed)
        if centre is None:
            break
        _ring(painted, centre, rng.uniform(2.4, 3.6), 1.15, 0.28, rng.uniform(0.42, 0.75))
    roomy = clear & (depth > 13)
    for _ in range(max(2, round(scene.size / 16000))):
        centre = random_place(rng, roomy)
        if centre is None:
            break
        inner = rng.choice([0.30, 0.45, 0.8])
        _ring(painted, centre, rng.uniform(5.0, 10.0), 1.6, 0.24, inner + rng.uniform(-0.05, 0.08))
    return painted


def _ring(scene: Floats, centre: Point, radius: float, width: float, wall: float, lumen: float) -> None:
    """Paint a vesicle in place: a dark wall around a lumen."""
    window, dy, dx = window_around((scene.shape[0], scene.shape[1]), centre, radius + 3 * width)
    distance = np.hypot(dy, dx)
    part = scene[window]
    inside = np.clip(radius - distance + 0.5, 0, 1)
    part += inside * (lumen - part) * 0.8
    part += np.exp(-(((distance - radius) / width) ** 2)) * (wall - part)


def _synapses(rng: np.random.Generator, scene: Floats, depth: Floats, mitochondria: Labels) -> Floats:
    """Paint thick patches on some membranes, as dark as a mitochondrion, as decoys."""
    shape = (scene.shape[0], scene.shape[1])
    far = ndi.distance_transform_edt(mitochondria == 0) > 9
    density = np.zeros(shape, np.float32)
    for _ in range(max(2, round(scene.size / 15000))):
        centre = random_place(rng, (depth < 1.5) & far)
        if centre is None:
            break
        reach = rng.uniform(9, 17)
        window, dy, dx = window_around(shape, centre, 1.3 * reach)
        patch = np.clip((reach - np.hypot(dy, dx)) / 4, 0, 1)
        thick = np.exp(-((depth[window] / rng.uniform(3.5, 5.5)) ** 2))
        density[window] = np.maximum(density[window], patch * thick)
    density *= np.clip(0.95 + 0.12 * smooth_noise(rng, shape, 2.0), 0, 1) * far
    return scene * (1 - density) + 0.13 * density


def _paint_mitochondria(rng: np.random.Generator, scene: Floats, labels: Labels, along: Floats) -> Floats:
    """Paint matrix, cristae and the double membrane."""
    shape = (scene.shape[0], scene.shape[1])
    body = labels > 0
    depth = ndi.gaussian_filter(ndi.distance_transform_edt(body).astype(np.float32), 0.8)
    n = int(labels.max()) + 1
    matrix = rng.uniform(0.36, 0.47, n)[labels] + 0.035 * smooth_noise(rng, shape, 2.2)
    period = rng.uniform(5.6, 7.6, n)[labels]
    phase = along + 2.6 * smooth_noise(rng, shape, 9.0) + 0.8 * smooth_noise(rng, shape, 3.0)
    stripe = np.clip(np.cos(2 * np.pi * phase / period), 0, 1) ** 1.5
    # Most cristae end inside; few cross the whole mitochondrion.
    present = np.clip(0.75 + 0.7 * smooth_noise(rng, shape, 6.0), 0, 1.1)
    cristae = stripe * present * np.clip((depth - 4) / 2, 0, 1)
    inner = matrix - 0.20 * cristae + 0.05 * np.clip(-np.cos(2 * np.pi * phase / period), 0, 1)
    # Outer membrane, pale gap, inner membrane: these distinguish a mitochondrion from a dark vacuole.
    wall = np.exp(-(((depth - 1.4) / 1.2) ** 2)) + 0.8 * np.exp(-(((depth - 5.0) / 1.1) ** 2))
    gap = np.exp(-(((depth - 3.2) / 0.9) ** 2))
    inner = inner * (1 - np.clip(wall, 0, 1)) + 0.22 * np.clip(wall, 0, 1) + 0.10 * gap
    return np.where(body, inner, scene).astype(np.float32)
