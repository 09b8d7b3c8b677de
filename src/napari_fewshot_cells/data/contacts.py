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


def touching_cells(labels: NDArray[np.generic]) -> NDArray[np.generic]:
    """The labels of cells that have a pixel of another cell in their 8-neighbourhood; sorted.

    Parameters
    ----------
    labels : ndarray of int, (H, W)
        0 is not a cell.
    """
    found: list[NDArray[np.generic]] = []
    for here, there in (
        (labels[:, :-1], labels[:, 1:]),
        (labels[:-1], labels[1:]),
        (labels[:-1, :-1], labels[1:, 1:]),
        (labels[:-1, 1:], labels[1:, :-1]),
    ):
        border = (here != there) & (here != 0) & (there != 0)
        found += [here[border], there[border]]
    return np.unique(np.concatenate(found))
