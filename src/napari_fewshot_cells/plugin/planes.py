"""Which plane of a layer is meant, and where it lies in space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..measurements import PixelSize

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image, Layer

PlaneIndex = tuple[int | None, ...]
"""A plane of an n-dimensional layer: a number for each axis that is fixed, None for the plane's two axes."""


def pixels_of(image: Image) -> Any:
    """The array of an image layer at full resolution (numpy, dask, zarr …)."""
    return image.data[0] if image.multiscale else image.data


def grid_of(image: Image) -> tuple[int, ...]:
    """Shape of an image without its colour axis: what a labels layer on it must have."""
    return tuple(pixels_of(image).shape[: image.ndim])


def plane_axes(layer: Layer, dims: Dims) -> tuple[int, int]:
    """The two axes of a layer that the viewer shows; its last two where it shows others."""
    offset = dims.ndim - layer.ndim
    shown = sorted(axis - offset for axis in dims.displayed)
    if len(shown) == 2 and shown[0] >= 0:
        return shown[0], shown[1]
    return layer.ndim - 2, layer.ndim - 1


def current_plane(image: Image, dims: Dims) -> PlaneIndex:
    """The plane of an image that the viewer shows."""
    if image.ndim == 2:
        return (None, None)
    axes, point = plane_axes(image, dims), image.world_to_data(dims.point)
    return tuple(
        None if axis in axes else int(np.clip(round(point[axis]), 0, size - 1))
        for axis, size in enumerate(grid_of(image))
    )


def every_plane(grid: tuple[int, ...], axes: tuple[int, int]) -> Iterator[PlaneIndex]:
    """All planes along `axes` of a layer of that shape."""
    fixed = [axis for axis in range(len(grid)) if axis not in axes]
    for numbers in np.ndindex(*(grid[axis] for axis in fixed)):
        yield tuple(numbers[fixed.index(axis)] if axis in fixed else None for axis in range(len(grid)))


def window(plane: PlaneIndex) -> tuple[int | slice, ...]:
    """The plane as an index of an array."""
    return tuple(slice(None) if number is None else number for number in plane)


def plane_name(layer_name: str, plane: PlaneIndex) -> str:
    """What people call it: the layer's name, and the numbers of the plane in a stack."""
    numbers = [str(number) for number in plane if number is not None]
    return f"{layer_name}, plane {' '.join(numbers)}" if numbers else layer_name


def pixel_size(image: Image, axes: tuple[int, int]) -> PixelSize:
    """Of the plane along `axes`, where the layer has units of length for both; else pixels."""
    units = [image.units[axis] for axis in axes]
    if not all(unit.dimensionality == {"[length]": 1} for unit in units):
        return PixelSize()
    height, width = (
        float((image.scale[axis] * unit).to(units[0]).magnitude)
        for axis, unit in zip(axes, units, strict=True)
    )
    symbol = f"{units[0]:~P}"
    return PixelSize(height, width, "µm" if symbol == "µ" else symbol)  # pint's symbol of "micron" is "µ"


def geometry_of(image: Image) -> dict[str, Any]:
    """Where an image lies in space, as arguments for a new layer."""
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    return {name: getattr(image, name) for name in names}
