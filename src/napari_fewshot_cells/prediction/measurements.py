"""Measure instance labels: a table with one row per object, lengths in the image's unit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.plane import Labels

_OBJECTS, _PAUSE = 16, 1e-4  # s
"""After this many objects, sleep for this long. Many small NumPy calls can keep the GUI thread from the GIL
for 0.3 s."""

Table = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class PixelSize:
    """Size of a pixel.

    Attributes
    ----------
    height, width : float
        In `unit`.
    unit : str
        Unit symbol, as in "µm"; empty for pixels.
    """

    height: float = 1.0
    width: float = 1.0
    unit: str = ""


def measure(labels: Labels, intensity: ArrayLike, pixel: PixelSize = PixelSize()) -> Table:
    """Measure every object.

    Parameters
    ----------
    labels : ndarray, int32, (H, W)
        0 is background.
    intensity : array_like, (H, W)
        Grey values of the image.
    pixel : PixelSize
        Sets the unit of lengths and areas, which the column names give, as in ``area (µm²)``; pixels by
        default.

    Returns
    -------
    dict of str to ndarray, (N,)
        ``index`` (the label), area, centroid (row and column, from the centre of the first pixel), mean
        intensity, eccentricity, solidity, major and minor axis of the ellipse with equal moments, and the
        perimeter if pixels are square.
    """
    from skimage.measure import regionprops

    length, area = (f" ({pixel.unit})", f" ({pixel.unit}²)") if pixel.unit else ("", "")
    columns: dict[str, Callable[[Any], float]] = {
        f"area{area}": lambda found: found.area,
        f"centroid-0{length}": lambda found: found.centroid[0],
        f"centroid-1{length}": lambda found: found.centroid[1],
        "mean intensity": lambda found: found.intensity_mean,
        "eccentricity": lambda found: found.eccentricity,
        "solidity": lambda found: found.solidity,
        f"major axis{length}": lambda found: found.axis_major_length,
        f"minor axis{length}": lambda found: found.axis_minor_length,
    }
    if np.isclose(pixel.height, pixel.width):
        columns[f"perimeter{length}"] = lambda found: found.perimeter
    objects = regionprops(labels, np.asarray(intensity), spacing=(pixel.height, pixel.width))
    values = np.empty((len(columns), len(objects)))
    for number, found in enumerate(objects):
        values[:, number] = [of(found) for of in columns.values()]
        if number % _OBJECTS == 0:
            time.sleep(_PAUSE)
    index = np.array([found.label for found in objects], np.int64)
    return {"index": index, **dict(zip(columns, values, strict=True))}
