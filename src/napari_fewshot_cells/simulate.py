"""Simulated micrographs with known truth: sample data and tests without any download.

Both generators are seeded: the same arguments give the same pixels, so a truth never needs to be stored.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]
Point = tuple[float, float]

SMALLEST_SIDE = 64

FLUORESCENT_RADIUS = 14.0  # px: nuclei of about 28 px, the size the bundled networks were trained at
FLUORESCENT_AREA_PER_CELL = 3200.0  # px² of field for each nucleus
MITOCHONDRION_AREA_OF_FIELD = 17500.0  # px² of field for each mitochondrion


def fluorescent_cells(
    shape: tuple[int, int] = (512, 512), seed: int = 0
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Fluorescent nuclei of about 28 px as a 12-bit camera would show them.

    Irregular smooth outlines, chromatin texture and nucleoli, some nuclei touching, brightness that differs
    fivefold, cytoplasmic haze, uneven illumination, blur, photon and read noise.

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
    _check(shape)
    labels, outside = _nuclei(rng, shape)
    numbers = np.arange(1, labels.max() + 1)

    # Real fields mix dim G1 nuclei with a few very bright condensed ones: log-normal, not uniform.
    brightness = np.clip(rng.lognormal(mean=-0.25, sigma=0.36, size=len(numbers) + 1), 0.34, 1.6)
    brightness[0] = 0.0
    chromatin = 1 + 0.13 * _noise(rng, shape, 1.6) + 0.12 * _noise(rng, shape, 4.0)
    dome = 0.68 + 0.32 * np.clip(ndi.distance_transform_edt(_interior(labels)) / 8, 0, 1)
    nuclei = brightness[labels] * np.clip(chromatin, 0.35, 1.8) * dome * _nucleoli(rng, labels)

    near = np.exp(-outside / 9.0) * (labels == 0)
    cytoplasm = 0.045 * near * np.clip(1 + 0.5 * _noise(rng, shape, 5.0), 0, None)
    scene = nuclei + cytoplasm + _debris(rng, shape)
    optics = 0.86 * ndi.gaussian_filter(scene, 1.25) + 0.14 * ndi.gaussian_filter(scene, 14.0)
    photons = 900.0 * (optics * _illumination(rng, shape) + 0.035)
    counts = rng.poisson(np.clip(photons, 0, None)) * 1.45 + rng.normal(110.0, 7.0, shape)
    return np.clip(np.round(counts), 0, 4095).astype(np.uint16), labels


def electron_microscopy(
    shape: tuple[int, int] = (512, 512), seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Brain tissue as in an electron micrograph; mitochondria of about 45 px are the labelled cells.

    Neurites with dark membranes, granular cytoplasm, synaptic vesicles, tubules and dense synapses surround
    the mitochondria (double membrane, grey matrix, cristae). Membranes, vesicles and synapses are as dark as
    the mitochondria, so that no threshold separates them.

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
    _check(shape)
    labels, along = _mitochondria(rng, shape)
    neurites = _neurites(rng, labels)
    membrane, depth = _membranes(rng, neurites)

    n = int(neurites.max()) + 1
    tone = rng.uniform(0.60, 0.84, n)[neurites]
    roughness = rng.uniform(0.5, 1.5, n)[neurites]
    grain = 0.050 * _noise(rng, shape, 1.4) + 0.035 * _noise(rng, shape, 2.8)
    scene = tone + roughness * grain + 0.02 * _noise(rng, shape, 12.0)
    scene -= _filaments(rng, neurites, depth, labels)
    scene = _vesicles(rng, scene, neurites, depth, labels)
    scene = scene * (1 - membrane) + 0.24 * membrane
    scene = _synapses(rng, scene, depth, labels)
    scene = _paint_mitochondria(rng, scene, labels, along)

    scene = ndi.gaussian_filter(scene, 0.9) + 0.035 * _noise(rng, shape, 60.0)
    scene += 0.040 * rng.standard_normal(shape) + 0.022 * _noise(rng, shape, 0.7)
    return np.clip(np.round(255 * scene), 0, 255).astype(np.uint8), labels


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


# --- shared ------------------------------------------------------------------------------------------------


def _check(shape: tuple[int, int]) -> None:
    if len(shape) != 2 or min(shape) < SMALLEST_SIDE:
        raise ValueError(f"a simulated image needs two sides of at least {SMALLEST_SIDE} px, not {shape}")


def _noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Floats:
    """Smooth Gaussian noise with zero mean and unit variance; grain of `sigma` px."""
    step = max(1, int(sigma / 3))  # coarse noise is made small and enlarged: a wide filter would be slow
    small = (shape[0] // step + 3, shape[1] // step + 3)
    noise = ndi.gaussian_filter(rng.standard_normal(small).astype(np.float32), sigma / step, mode="wrap")
    noise /= noise.std() + 1e-9
    if step > 1:
        noise = ndi.zoom(noise, step, order=1)
        if sigma < 20:
            noise = ndi.gaussian_filter(noise, step / 2)
    result: Floats = noise[: shape[0], : shape[1]]
    return result


def _outline(rng: np.random.Generator, angle: Floats, wobble: float) -> Floats:
    """Relative radius at each angle: 1 plus a few random harmonics."""
    radius = np.ones_like(angle)
    for k in range(2, 7):
        radius += wobble * rng.normal() / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return radius


def _interior(labels: Labels) -> NDArray[np.bool_]:
    """Foreground without the seams where two cells touch."""
    seam = ndi.maximum_filter(labels, 3) != labels
    interior: NDArray[np.bool_] = (labels > 0) & ~seam
    return interior


def _window(
    shape: tuple[int, int], centre: Point, reach: float
) -> tuple[tuple[slice, slice], Floats, Floats]:
    """The part of the image within `reach` of `centre`, and row and column offsets from it."""
    rows, cols = (
        slice(max(0, int(c - reach)), max(0, min(n, int(c + reach) + 2)))
        for c, n in zip(centre, shape, strict=True)
    )
    y, x = np.mgrid[rows, cols].astype(np.float32)
    return (rows, cols), y - np.float32(centre[0]), x - np.float32(centre[1])


def _objects(labels: NDArray[np.integer]) -> list[tuple[int, Point, int, bool]]:
    """Number, centre, area (px²) of each object, and whether it lies clear of the image's edge."""
    found = []
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        if box is None:
            continue
        rows, cols = np.nonzero(labels[box] == number)
        centre = (float(rows.mean() + box[0].start), float(cols.mean() + box[1].start))
        clear = all(b.start > 0 and b.stop < n for b, n in zip(box, labels.shape, strict=True))
        found.append((number, centre, len(rows), clear))
    return found


def _inside(rng: np.random.Generator, allowed: NDArray[np.bool_]) -> Point | None:
    """A random allowed pixel, or None where there is none."""
    places = np.flatnonzero(allowed)
    if len(places) == 0:
        return None
    row, col = divmod(int(rng.choice(places)), allowed.shape[1])
    return float(row), float(col)


# --- fluorescence ------------------------------------------------------------------------------------------


def _nuclei(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Labels, Floats]:
    """Instance labels of nuclei, and the distance of each background pixel to the nearest."""
    labels = np.zeros(shape, np.int32)
    placed: list[tuple[float, float, float]] = []
    wanted = max(4, round(shape[0] * shape[1] / FLUORESCENT_AREA_PER_CELL))
    for _ in range(wanted * 30):
        if len(placed) == wanted:
            break
        radius = FLUORESCENT_RADIUS * float(np.clip(rng.normal(1.0, 0.13), 0.72, 1.4))
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
    window, dy, dx = _window((labels.shape[0], labels.shape[1]), centre, 2 * radius)
    tilt, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.22)
    u = (np.cos(tilt) * dx + np.sin(tilt) * dy) / stretch
    v = (-np.sin(tilt) * dx + np.cos(tilt) * dy) * stretch
    shape = np.hypot(u, v) <= radius * _outline(rng, np.arctan2(v, u), 0.11)
    free = shape & (labels[window] == 0)
    # A nucleus that lost much of itself to a neighbour would be a sliver that no person would call a cell.
    if free.sum() < 0.8 * shape.sum() or free.sum() < 120:
        return False
    pieces, n = ndi.label(free)
    if n > 1:
        free = pieces == 1 + np.argmax(ndi.sum_labels(free, pieces, range(1, n + 1)))
    labels[window][free] = number
    return True


def _nucleoli(rng: np.random.Generator, labels: Labels) -> Floats:
    """Factor below 1 where a nucleolus keeps the dye out."""
    factor = np.ones(labels.shape, np.float32)
    for _, middle, area, _ in _objects(labels):
        for _ in range(int(rng.integers(1, 4))):
            spread = 0.25 * np.sqrt(area)
            centre = (middle[0] + rng.uniform(-spread, spread), middle[1] + rng.uniform(-spread, spread))
            size = rng.uniform(1.3, 2.5)
            window, dy, dx = _window((labels.shape[0], labels.shape[1]), centre, 4 * size)
            factor[window] *= 1 - rng.uniform(0.2, 0.5) * np.exp(-(dy**2 + dx**2) / (2 * size**2))
    return factor


def _debris(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """A few small bright specks and large out-of-focus glows, none of them a cell."""
    scene = np.zeros(shape, np.float32)
    area = shape[0] * shape[1] / 512**2
    for count, size, light in ((10, (0.8, 1.6), (0.2, 0.7)), (4, (18.0, 34.0), (0.02, 0.06))):
        for _ in range(max(1, round(count * area))):
            sigma = rng.uniform(*size)
            centre = (rng.uniform(0, shape[0]), rng.uniform(0, shape[1]))
            window, dy, dx = _window(shape, centre, 3 * sigma)
            scene[window] += rng.uniform(*light) * np.exp(-(dy**2 + dx**2) / (2 * sigma**2))
    return scene


def _illumination(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Brighter near a point off the middle, down to about 60 % in the far corner."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    cy, cx = rng.uniform(0.35, 0.65, 2) * shape
    far = ((y - cy) / shape[0]) ** 2 + ((x - cx) / shape[1]) ** 2
    field: Floats = (1.08 - 0.75 * far).astype(np.float32)
    return field


# --- electron microscopy -----------------------------------------------------------------------------------


def _mitochondria(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Labels, Floats]:
    """Instance labels, and for each pixel its coordinate along its mitochondrion's bent axis (px)."""
    labels = np.zeros(shape, np.int32)
    along = np.zeros(shape, np.float32)
    taken = np.zeros(shape, bool)
    wanted = max(3, round(shape[0] * shape[1] / MITOCHONDRION_AREA_OF_FIELD))
    number = 0
    for _ in range(wanted * 25):
        if number == wanted:
            break
        half_width = rng.uniform(16.5, 22.5)
        half_length = half_width * rng.choice([1.05, 1.35, 1.7, 2.2], p=[0.3, 0.35, 0.25, 0.1])
        centre = (rng.uniform(0, shape[0]), rng.uniform(0, shape[1]))
        window, dy, dx = _window(shape, centre, 1.5 * half_length)
        tilt, bend = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.0035)
        u = np.cos(tilt) * dx + np.sin(tilt) * dy
        v = -np.sin(tilt) * dx + np.cos(tilt) * dy
        v = v - bend * u**2
        angle = np.arctan2(v / half_width, u / half_length)
        # The exponent 2.4 makes a capsule with blunt ends rather than an ellipse with pointed ones.
        radius = (np.abs(u / half_length) ** 2.4 + np.abs(v / half_width) ** 2.4) ** (1 / 2.4)
        body = radius <= _outline(rng, angle, 0.07)
        if body.sum() < 600 or (body & taken[window]).any():
            continue
        number += 1
        labels[window][body] = number
        along[window][body] = u[body]
        near = ndi.distance_transform_edt(labels == 0) < 12
        taken |= near
    return labels, along


def _neurites(rng: np.random.Generator, mitochondria: Labels) -> Labels:
    """Regions of cytoplasm, each mitochondrion whole within one of them."""
    shape = (mitochondria.shape[0], mitochondria.shape[1])
    free = ndi.distance_transform_edt(mitochondria == 0)
    seeds = ndi.grey_dilation(mitochondria, size=9)
    number = int(mitochondria.max())
    spacing = _noise(rng, shape, 70.0)
    distance = free.copy()
    for _ in range(shape[0] * shape[1] // 900):
        row, col = int(rng.integers(shape[0])), int(rng.integers(shape[1]))
        # Thin and thick neurites come in bundles: the least distance between seeds varies slowly.
        least = float(np.clip(38 + 17 * spacing[row, col], 20, 75))
        if distance[row, col] < least:
            continue
        number += 1
        seeds[row, col] = number
        window, dy, dx = _window(shape, (row, col), 80)
        distance[window] = np.minimum(distance[window], np.hypot(dy, dx))
    nearest = ndi.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    regions = seeds[tuple(nearest)]

    # Bending the plane turns straight Voronoi edges into membranes; close to mitochondria it must not move,
    # else a membrane would cut through one.
    rigid = np.clip((free - 4) / 26, 0, 1)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    y += rigid * (9.0 * _noise(rng, shape, 28.0) + 2.5 * _noise(rng, shape, 9.0))
    x += rigid * (9.0 * _noise(rng, shape, 28.0) + 2.5 * _noise(rng, shape, 9.0))
    warped = ndi.map_coordinates(regions, [y, x], order=0, mode="nearest")
    smooth: Labels = ndi.median_filter(warped, 5).astype(np.int32)
    return smooth


def _membranes(rng: np.random.Generator, neurites: Labels) -> tuple[Floats, Floats]:
    """Darkness of the membranes (0 to 1), and the depth of each pixel within its neurite (px)."""
    shape = (neurites.shape[0], neurites.shape[1])
    border = ndi.maximum_filter(neurites, 2) != ndi.minimum_filter(neurites, 2)
    depth = ndi.gaussian_filter(ndi.distance_transform_edt(~border).astype(np.float32), 1.2)
    width = np.clip(2.0 + 0.5 * _noise(rng, shape, 20.0), 1.2, 3.4)
    sheet = np.exp(-((np.clip(depth - 0.9, 0, None) / width) ** 2))
    # In places the cleft between two neighbours opens and shows as a thin pale line.
    cleft = np.clip(_noise(rng, shape, 18.0) - 0.2, 0, 1) * np.exp(-((depth / 1.5) ** 2))
    fade = np.clip(0.86 + 0.12 * _noise(rng, shape, 10.0), 0.35, 1.0)  # obliquely cut membranes are faint
    return np.clip(sheet * fade - 0.75 * cleft, 0, 1).astype(np.float32), depth


def _filaments(rng: np.random.Generator, neurites: Labels, depth: Floats, mitochondria: Labels) -> Floats:
    """Darkness of short tubules and cytoskeleton, streaming along each neurite."""
    shape = (neurites.shape[0], neurites.shape[1])
    ink = np.zeros(shape, np.float32)
    allowed = (depth > 6) & (mitochondria == 0)
    for _ in range(round(neurites.size / 2600)):
        start = _inside(rng, allowed)
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
    """Clusters of synaptic vesicles in some neurites, and some large vacuoles as decoys."""
    shape = (scene.shape[0], scene.shape[1])
    painted = scene.copy()
    clear = ndi.distance_transform_edt(mitochondria == 0) > 6
    terminals = rng.random(int(neurites.max()) + 1) < 0.42
    crowd = _noise(rng, shape, 10.0) > -0.5
    allowed = clear & (depth > 6) & terminals[neurites] & crowd
    for _ in range(round(allowed.sum() / 62)):
        centre = _inside(rng, allowed)
        if centre is None:
            break
        _ring(painted, centre, rng.uniform(2.4, 3.6), 1.15, 0.28, rng.uniform(0.42, 0.75))
    roomy = clear & (depth > 13)
    for _ in range(max(2, round(scene.size / 16000))):
        centre = _inside(rng, roomy)
        if centre is None:
            break
        inner = rng.choice([0.30, 0.45, 0.8])
        _ring(painted, centre, rng.uniform(5.0, 10.0), 1.6, 0.24, inner + rng.uniform(-0.05, 0.08))
    return painted


def _ring(scene: Floats, centre: Point, radius: float, width: float, wall: float, lumen: float) -> None:
    window, dy, dx = _window((scene.shape[0], scene.shape[1]), centre, radius + 3 * width)
    distance = np.hypot(dy, dx)
    part = scene[window]
    inside = np.clip(radius - distance + 0.5, 0, 1)
    part += inside * (lumen - part) * 0.8
    part += np.exp(-(((distance - radius) / width) ** 2)) * (wall - part)


def _synapses(rng: np.random.Generator, scene: Floats, depth: Floats, mitochondria: Labels) -> Floats:
    """Thick dark patches on some membranes: as dark as a mitochondrion, and no mitochondrion."""
    shape = (scene.shape[0], scene.shape[1])
    far = ndi.distance_transform_edt(mitochondria == 0) > 9
    density = np.zeros(shape, np.float32)
    for _ in range(max(2, round(scene.size / 15000))):
        centre = _inside(rng, (depth < 1.5) & far)
        if centre is None:
            break
        reach = rng.uniform(9, 17)
        window, dy, dx = _window(shape, centre, 1.3 * reach)
        patch = np.clip((reach - np.hypot(dy, dx)) / 4, 0, 1)
        thick = np.exp(-((depth[window] / rng.uniform(3.5, 5.5)) ** 2))
        density[window] = np.maximum(density[window], patch * thick)
    density *= np.clip(0.95 + 0.12 * _noise(rng, shape, 2.0), 0, 1) * far
    return scene * (1 - density) + 0.13 * density


def _paint_mitochondria(rng: np.random.Generator, scene: Floats, labels: Labels, along: Floats) -> Floats:
    shape = (scene.shape[0], scene.shape[1])
    body = labels > 0
    depth = ndi.gaussian_filter(ndi.distance_transform_edt(body).astype(np.float32), 0.8)
    n = int(labels.max()) + 1
    matrix = rng.uniform(0.36, 0.47, n)[labels] + 0.035 * _noise(rng, shape, 2.2)
    period = rng.uniform(5.6, 7.6, n)[labels]
    phase = along + 2.6 * _noise(rng, shape, 9.0) + 0.8 * _noise(rng, shape, 3.0)
    stripe = np.clip(np.cos(2 * np.pi * phase / period), 0, 1) ** 1.5
    present = np.clip(0.75 + 0.7 * _noise(rng, shape, 6.0), 0, 1.1)  # cristae end inside, few cross it all
    cristae = stripe * present * np.clip((depth - 4) / 2, 0, 1)
    inner = matrix - 0.20 * cristae + 0.05 * np.clip(-np.cos(2 * np.pi * phase / period), 0, 1)
    # Outer membrane, pale gap, inner membrane: what tells a mitochondrion from a dark vacuole.
    wall = np.exp(-(((depth - 1.4) / 1.2) ** 2)) + 0.8 * np.exp(-(((depth - 5.0) / 1.1) ** 2))
    gap = np.exp(-(((depth - 3.2) / 0.9) ** 2))
    inner = inner * (1 - np.clip(wall, 0, 1)) + 0.22 * np.clip(wall, 0, 1) + 0.10 * gap
    return np.where(body, inner, scene).astype(np.float32)


# --- annotation --------------------------------------------------------------------------------------------


def _cells_to_paint(
    rng: np.random.Generator, truth: NDArray[np.integer], n_cells: int
) -> Iterator[tuple[int, Point]]:
    """Whole cells first, spread over the image as a person's eye would spread them."""
    objects = _objects(truth)
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
    window, dy, dx = _window((cell.shape[0], cell.shape[1]), centre, 1.5 * reach)
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
    start = _inside(rng, clearance > min(8.0, float(clearance.max()) * 0.7))
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
