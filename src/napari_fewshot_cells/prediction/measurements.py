"""Instance labels become a table: one row an object, lengths in the unit that the image is measured in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.plane import Labels

_OBJECTS, _PAUSE = 16, 1e-4  # s
"""After so many objects other threads get their turn, for so long at least. On small arrays NumPy lets go of
the interpreter and takes it again so fast that a thread that waits for it, the window's, may not get it for
0.3 s."""

Table = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class PixelSize:
    """How large a pixel is.

    Attributes
    ----------
    height, width : float
        In `unit`.
    unit : str
        As it is written behind a number, "µm"; empty for pixels.
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
        The unit of lengths and areas, named in the columns, as in ``area (µm²)``; pixels by default.

    Returns
    -------
    dict of str to ndarray, (N,)
        ``index`` (the label), area, centroid (row and column, from the middle of the first pixel), mean
        intensity, eccentricity, solidity, major and minor axis of the ellipse of the same moments, and the
        perimeter where pixels are square.
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
