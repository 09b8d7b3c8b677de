"""Turn a probability into instance labels: fill holes, split touching objects, drop small pieces.

The slow step, `split_objects`, depends only on the foreground. `drop_small` is fast, so that the smallest
size can be changed without splitting again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.measure import label
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from ..data.plane import FloatImage, Labels

_SMALLEST_SHARE = 0.1
"""Share of a typical object's area; smaller pieces count as noise."""

_SMALLEST_CORE = 0.3
"""Share of the smallest object; smaller pieces between contacts are no cells."""
_FEWEST_PIXELS = 4  # of a core

Mask = NDArray[np.bool_]
_Numbers = NDArray[np.integer]


def label_instances(
    probability: ArrayLike,
    *,
    contact: NDArray[np.floating] | None = None,
    threshold: float = 0.5,
    diameter: float | None = None,
    min_size: int | None = None,
    max_hole: int = 0,
) -> Labels:
    """Split the foreground into objects.

    Parameters
    ----------
    probability : array_like, float, (H, W)
        In [0, 1].
    contact : ndarray, float, (H, W), optional
        Probability that a pixel of the foreground is between two cells, see `probability.CellMaps`. If None,
        objects are split by their shape alone.
    threshold : float
        Pixels above it are foreground.
    diameter : float, optional
        Typical diameter of an object in pixels. It sets how deep a waist must be to split an object (1 px
        without it), and the default of `min_size`.
    min_size : int, optional
        Pixels; smaller objects are dropped. By default a tenth of a typical object's area, or 1.
    max_hole : int
        Pixels; holes in the foreground up to this area are filled before the foreground is split. This mends
        objects with a dark middle, but also closes gaps enclosed by touching cells; by default no hole is
        filled.

    Returns
    -------
    ndarray, int32, (H, W)
        0 is background, objects are 1, 2, 3, …
    """
    min_size = usual_min_size(diameter) if min_size is None else min_size
    foreground = fill_holes(np.asarray(probability) > threshold, max_hole)
    return drop_small(split_objects(foreground, diameter, contact), min_size)


def usual_min_size(diameter: float | None) -> int:
    """Pixels of the smallest piece that is not noise: a tenth of a typical object's area, at least 1."""
    return 1 if diameter is None else max(1, round(_SMALLEST_SHARE * np.pi / 4 * diameter**2))


def fill_holes(foreground: Mask, max_hole: int) -> Mask:
    """Fill holes: background enclosed by foreground.

    Parameters
    ----------
    foreground : ndarray, bool, (H, W)
    max_hole : int
        Pixels of the largest hole to fill. Background that touches the image's border is not a hole.

    Returns
    -------
    ndarray, bool, (H, W)
    """
    if max_hole < 1:
        return foreground
    # objects are connected by edges only, so background is connected by corners too
    gaps = label(~foreground, connectivity=2)
    holes = np.bincount(gaps.ravel()) <= max_hole
    holes[0] = False
    for border in (gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]):
        holes[border] = False
    filled: Mask = foreground | holes[gaps]
    return filled


def split_objects(
    foreground: Mask, diameter: float | None = None, contact: NDArray[np.floating] | None = None
) -> Labels:
    """Cut the connected components of a mask into objects: where cells touch if that is known, else by shape.

    With `contact`, what is left of the foreground without contacts is cut by its shape, and its parts grow
    back over the contacts: a watershed of the probability of contact. A component whose every part is
    smaller than `_SMALLEST_CORE` of a typical object is one object.

    Parameters
    ----------
    foreground : ndarray, bool, (H, W)
    diameter : float, optional
        Typical diameter of an object in pixels.
    contact : ndarray, float, (H, W), optional
        Probability of contact; above 0.5 a pixel is between two cells.

    Returns
    -------
    ndarray, int32, (H, W)
        0 is background; numbers may have gaps.
    """
    if contact is None:
        return _split_by_shape(foreground, diameter)
    cores = drop_small(
        _split_by_shape(foreground & (contact <= 0.5), diameter),
        max(_FEWEST_PIXELS, round(_SMALLEST_CORE * usual_min_size(diameter))),
    )
    components = label(foreground, connectivity=1)
    contested = _with_several(components, cores)
    grown = watershed(contact, np.where(contested, cores, 0), mask=contested)
    labels: Labels = np.where(contested, grown + int(components.max()), components).astype(np.int32)
    return labels


def _split_by_shape(foreground: Mask, diameter: float | None = None) -> Labels:
    """Cut the connected components of a mask at their waists.

    A watershed of the distance to the background yields the parts. A part becomes an object if its maximum
    rises above the saddle to a higher part by more than a twentieth of `diameter` and by more than 1 px;
    otherwise it is merged.

    Parameters
    ----------
    foreground : ndarray, bool, (H, W)
    diameter : float, optional
        Typical diameter of an object in pixels.

    Returns
    -------
    ndarray, int32, (H, W)
        0 is background; numbers may be missing.
    """
    # pad with background, so that the image's border also bounds objects
    distance = distance_transform_edt(np.pad(foreground, 1))[1:-1, 1:-1].astype(np.float32)
    height = np.where(foreground, gaussian_filter(distance, 1.0), 0)
    peaks = label(local_maxima(height) & foreground, connectivity=2)
    components = label(foreground, connectivity=1)
    # only components with several peaks need a watershed
    at_peaks = peaks > 0
    contested = _with_several(components, peaks)
    basins = watershed(-height, np.where(contested, peaks, 0), mask=contested)
    waist = 1.0 if diameter is None else max(1.0, 0.05 * diameter)
    tops = np.zeros(int(basins.max()) + 1, np.float32)
    tops[basins[at_peaks]] = height[at_peaks]
    merged = _merge_shallow(tops, _saddles(basins, components, height), waist)[basins]
    labels: Labels = np.where(contested, merged + int(components.max()) + 1, components).astype(np.int32)
    return labels


def _with_several(components: _Numbers, parts: _Numbers) -> Mask:
    """The pixels of components that contain several parts."""
    inside = parts > 0
    n_parts = int(parts.max()) + 1
    pairs = np.unique(components[inside].astype(np.int64) * n_parts + parts[inside])
    several: Mask = np.bincount(pairs // n_parts, minlength=int(components.max()) + 1) > 1
    return several[components]


Saddle = tuple[float, int, int]
"""Height of the highest pass between two basins, and the two basins."""


def _saddles(basins: _Numbers, components: _Numbers, height: FloatImage) -> list[Saddle]:
    """Saddles between the basins of a component that touch by edges or corners; the highest first."""
    levels, pairs = [], []
    for here, there in (
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[:-1, 1:], np.s_[1:, :-1]),
    ):
        at = np.nonzero((basins[here] != basins[there]) & (components[here] == components[there]))
        levels.append(np.minimum(height[here][at], height[there][at]))
        pairs.append(np.sort(np.stack([basins[here][at], basins[there][at]]), axis=0))
    level, pair = np.concatenate(levels), np.concatenate(pairs, axis=1)
    order = np.argsort(-level, kind="stable")
    one, other = pair[:, order].astype(np.int64)
    _, first = np.unique(one * (basins.max() + 1) + other, return_index=True)
    chosen = order[np.sort(first)]
    return list(zip(level[chosen].tolist(), *pair[:, chosen].tolist(), strict=True))


def _merge_shallow(tops: FloatImage, saddles: list[Saddle], waist: float) -> _Numbers:
    """Merge each basin whose top rises at most `waist` above its saddle to a higher basin.

    The basin joins its neighbour at that saddle. The remaining tops are those of a morphological
    reconstruction of height − `waist`, in a tenth of the time.

    Returns
    -------
    ndarray of int
        For each basin, the basin that it now belongs to.
    """
    summit, owner = (
        list(range(len(tops))),
        list(range(len(tops))),
    )  # union-find roots: of connected basins; of one object
    for level, one, other in saddles:
        low, high = sorted((_root(summit, one), _root(summit, other)), key=tops.__getitem__)
        if low == high:
            continue
        summit[low] = high
        if tops[low] - level <= waist:
            owner[_root(owner, one)] = _root(owner, other)
    return np.array([_root(owner, basin) for basin in range(len(tops))])


def _root(parents: list[int], node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


def drop_small(labels: Labels, min_size: int) -> Labels:
    """Drop objects of fewer than `min_size` pixels and number the others 1, 2, 3, …; int32, (H, W)."""
    areas = np.bincount(labels.ravel())
    keep = areas >= max(min_size, 1)
    keep[0] = False
    numbers = np.zeros(len(areas), np.int32)
    numbers[keep] = np.arange(1, np.count_nonzero(keep) + 1)
    kept: Labels = numbers[labels]
    return kept
