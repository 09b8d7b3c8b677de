"""Where cells touch: the pixels near two different cells, and the cells that have a neighbour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from .plane import Labels

Mask = NDArray[np.bool_]


def contact_zone(labels: Labels, radius: float) -> Mask:
    """Pixels within `radius` of two different cells.

    Parameters
    ----------
    labels : ndarray, int32, (H, W)
        0 is not a cell.
    radius : float
        Pixels; at 1.5 the 8-neighbourhood.

    Returns
    -------
    ndarray, bool, (H, W)
    """
    reach = int(radius)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.hypot(rows, columns) <= radius
    none = np.iinfo(labels.dtype).max
    largest = maximum_filter(labels, footprint=disc)
    smallest = minimum_filter(np.where(labels > 0, labels, none), footprint=disc)
    zone: Mask = (largest > 0) & (smallest < none) & (largest != smallest)
    return zone


def touching_cells(labels: Labels) -> NDArray[np.int32]:
    """The labels of cells that have a pixel of another cell in their 8-neighbourhood; sorted."""
    near = labels[contact_zone(labels, 1.5)]
    return np.unique(near[near > 0])
