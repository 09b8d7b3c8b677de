"""Instance labels become a table: one row an object, lengths in the unit that the image is measured in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .images import Labels

_SHAPE = {
    "eccentricity": "eccentricity",
    "solidity": "solidity",
}
_LENGTHS = {
    "axis_major_length": "major axis",
    "axis_minor_length": "minor axis",
}

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
    from skimage.measure import regionprops_table

    square = bool(np.isclose(pixel.height, pixel.width))
    found = regionprops_table(
        labels,
        np.asarray(intensity),
        properties=(
            "label",
            "area",
            "centroid",
            "intensity_mean",
            *_SHAPE,
            *_LENGTHS,
            *(("perimeter",) if square else ()),
        ),
        spacing=(pixel.height, pixel.width),
    )
    length, area = (f" ({pixel.unit})", f" ({pixel.unit}²)") if pixel.unit else ("", "")
    table = {
        "index": found["label"],
        f"area{area}": found["area"],
        f"centroid-0{length}": found["centroid-0"],
        f"centroid-1{length}": found["centroid-1"],
        "mean intensity": found["intensity_mean"],
        **{column: found[name] for name, column in _SHAPE.items()},
        **{f"{column}{length}": found[name] for name, column in _LENGTHS.items()},
    }
    if square:
        table[f"perimeter{length}"] = found["perimeter"]
    return table
