"""Names a plane of a layer, and says where the layer lies in space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...prediction.measurements import PixelSize

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image, Labels, Layer

PlaneIndex = tuple[int | None, ...]
"""A plane of an n-dimensional layer: an index for each fixed axis, None for the plane's two axes.

A channel axis counts as fixed at 0, because a plane has all channels.
"""

_CHANNEL_NAMES = ("c", "ch", "channel", "channels")


def pixels_of(image: Image | Labels) -> Any:
    """The array of a layer at full resolution (numpy, dask, zarr …)."""
    return image.data[0] if image.multiscale else image.data


def channel_axis(layer: Layer) -> int | None:
    """The axis of a layer that is named "c", "channel" or the like; never the colours of an RGB layer."""
    if layer.ndim < 3:
        return None
    names = [name.lower() for name in layer.axis_labels]
    return next((axis for axis, name in enumerate(names) if name in _CHANNEL_NAMES), None)


def grid_of(image: Image | Labels) -> tuple[int, ...]:
    """The shape of labels on an image: without its colours, and of length 1 along its channel axis."""
    channels = channel_axis(image)
    shape = pixels_of(image).shape[: image.ndim]
    return tuple(1 if axis == channels else size for axis, size in enumerate(shape))


def plane_axes(layer: Layer, dims: Dims) -> tuple[int, int]:
    """The two axes of a layer that the viewer shows, else its last two axes other than channels."""
    offset, channels = dims.ndim - layer.ndim, channel_axis(layer)
    shown = sorted(axis - offset for axis in dims.displayed)
    if len(shown) == 2 and shown[0] >= 0 and channels not in shown:
        return shown[0], shown[1]
    rows, columns = [axis for axis in range(layer.ndim) if axis != channels][-2:]
    return rows, columns


def shows_channels(layer: Layer, dims: Dims) -> bool:
    """Whether the viewer shows a layer's channel axis as rows or columns."""
    channels = channel_axis(layer)
    return channels is not None and channels + dims.ndim - layer.ndim in dims.displayed


def current_plane(image: Image | Labels, dims: Dims) -> PlaneIndex:
    """The plane of an image that the viewer shows."""
    if image.ndim == 2:
        return (None, None)
    axes, point = plane_axes(image, dims), image.world_to_data(dims.point)
    return tuple(
        None if axis in axes else int(np.clip(round(point[axis]), 0, size - 1))
        for axis, size in enumerate(grid_of(image))
    )


def every_plane(grid: tuple[int, ...], axes: tuple[int, int]) -> Iterator[PlaneIndex]:
    """All planes along two axes of a grid."""
    fixed = [axis for axis in range(len(grid)) if axis not in axes]
    for numbers in np.ndindex(*(grid[axis] for axis in fixed)):
        yield tuple(numbers[fixed.index(axis)] if axis in fixed else None for axis in range(len(grid)))


def plane_fits(plane: PlaneIndex, shown: PlaneIndex, grid: tuple[int, ...]) -> bool:
    """Whether a plane has the orientation of `shown` and lies within the grid, which may have changed."""
    return len(plane) == len(shown) and all(
        (number is None) == (now is None) and (number is None or number < size)
        for number, now, size in zip(plane, shown, grid, strict=True)
    )


def window(plane: PlaneIndex) -> tuple[int | slice, ...]:
    """The index that takes the plane out of an array."""
    return tuple(slice(None) if number is None else number for number in plane)


def plane_name(layer_name: str, plane: PlaneIndex, grid: tuple[int, ...]) -> str:
    """The name for the user: the layer's name, and the plane's numbers if the layer has other planes."""
    numbers = [str(n) for n, size in zip(plane, grid, strict=True) if n is not None and size > 1]
    return f"{layer_name}, plane {' '.join(numbers)}" if numbers else layer_name


def pixel_size(image: Image, axes: tuple[int, int]) -> PixelSize:
    """The pixel size along two axes, if both have units of length; otherwise in pixels."""
    units = [image.units[axis] for axis in axes]
    if not all(unit.dimensionality == {"[length]": 1} for unit in units):
        return PixelSize()
    height, width = (
        float((image.scale[axis] * unit).to(units[0]).magnitude)
        for axis, unit in zip(axes, units, strict=True)
    )
    symbol = f"{units[0]:~P}"
    return PixelSize(height, width, "µm" if symbol == "µ" else symbol)  # pint's symbol of "micron" is "µ"


def place_on(layer: Layer, image: Image) -> None:
    """Move a layer on an image's grid to the image's current place."""
    move(layer, **geometry_of(image))


def move(layer: Layer, **geometry: Any) -> None:
    """Set where a layer lies: its scale, translate and so on.

    Equal values are not set, because napari slices and draws the layer again for each value that is set.
    """
    for name, value in geometry.items():
        if not np.array_equal(getattr(layer, name), value):
            setattr(layer, name, value)


def geometry_of(image: Image) -> dict[str, Any]:
    """Where an image lies in space, as arguments for a new layer on its grid.

    If the image has channels, the new layer is as thick as all of them, so it shows on each.
    """
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    geometry = {name: getattr(image, name) for name in names}
    channels = channel_axis(image)
    if channels is not None:
        number = pixels_of(image).shape[channels]
        scale, translate = np.array(image.scale), np.array(image.translate)
        translate[channels] += scale[channels] * (number - 1) / 2
        scale[channels] *= number
        geometry |= {"scale": scale, "translate": translate}
    return geometry


Scores = Mapping[tuple["Image", PlaneIndex], str]
"""The score of the last scored model on each of its shots, as `scoring.Score.number` writes it."""


Ranks = Mapping[tuple["Image", PlaneIndex], int]
"""The rank of each plane in the order of what to annotate next, from 1."""
