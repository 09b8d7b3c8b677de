"""Probability becomes instance labels: connected components, touching objects split by a watershed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.measure import label
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from .images import Labels

_SMALLEST_SHARE = 0.1
"""Of a typical object's area; smaller pieces are taken for noise."""


def label_instances(
    probability: ArrayLike,
    *,
    threshold: float = 0.5,
    diameter: float | None = None,
    min_size: int | None = None,
) -> Labels:
    """Split the foreground into objects.

    Parameters
    ----------
    probability : array_like, float, (H, W)
        In [0, 1].
    threshold : float
        Foreground is above it.
    diameter : float, optional
        Typical diameter of an object in pixels. It sets how deep a waist must be to split an object, and the
        default of `min_size`; by default small waists split nothing under 2 px.
    min_size : int, optional
        Pixels; smaller objects are dropped. By default a tenth of a typical object's area, or 1.

    Returns
    -------
    ndarray, int32, (H, W)
        0 is background, objects are 1, 2, 3 …
    """
    foreground = np.asarray(probability) > threshold
    labels = _split(foreground, waist=1.0 if diameter is None else max(1.0, 0.05 * diameter))
    if min_size is None:
        min_size = 1 if diameter is None else max(1, round(_SMALLEST_SHARE * np.pi / 4 * diameter**2))
    return _drop_small(labels, min_size)


def _split(foreground: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], waist: float) -> Labels:
    """Watershed of the distance transform from those of its maxima that rise `waist` px above the saddle."""
    if not foreground.any():
        return np.zeros(foreground.shape, np.int32)
    # one pixel of background all around, so that the border of the image bounds objects too
    distance = distance_transform_edt(np.pad(foreground, 1))[1:-1, 1:-1].astype(np.float32)
    smooth = np.where(foreground, gaussian_filter(distance, 1.0), 0)
    filled = reconstruction(np.maximum(smooth - waist, 0), smooth)
    peaks = local_maxima(filled) & foreground
    # an object shallower than the waist has been flattened to zero: it is its own marker
    components = label(foreground, connectivity=1)
    marked = np.unique(components[peaks])
    peaks |= foreground & ~np.isin(components, marked)
    markers = label(peaks, connectivity=2)
    labels: Labels = watershed(-smooth, markers, mask=foreground).astype(np.int32)
    return labels


def _drop_small(labels: Labels, min_size: int) -> Labels:
    areas = np.bincount(labels.ravel())
    keep = areas >= min_size
    keep[0] = False
    numbers = np.zeros(len(areas), np.int32)
    numbers[keep] = np.arange(1, np.count_nonzero(keep) + 1)
    return numbers[labels]
