"""The input of a job: image planes and their annotations, to be read in a worker thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...base.errors import AnnotationError
from ...prediction.measurements import PixelSize
from .channels import Channels, channels_of
from .planes import (
    PlaneIndex,
    current_plane,
    every_plane,
    grid_of,
    pixel_size,
    pixels_of,
    plane_axes,
    plane_name,
    window,
)

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image

    from ...data.plane import Plane


@dataclass(frozen=True, eq=False)
class Source:
    """One image plane, to be read later in a worker thread."""

    layer: Image
    name: str
    array: Any
    rgb: bool
    grid: tuple[int, ...]
    plane: PlaneIndex
    pixel: PixelSize
    channels: Channels | None = None

    @property
    def label(self) -> str:
        """The name of the plane, for the user."""
        channels, name = self.channels, plane_name(self.name, self.plane, self.grid)
        return name if channels is None or channels.chosen is None else f"{name} [{channels.description}]"

    def read(self) -> Plane:
        """The plane with all its channels or the chosen one; raises `ImageError` if it cannot be used."""
        from ...data.plane import to_plane

        return to_plane(self.values(), self.label, rgb=self.rgb and self._all, channels=self._stacked)

    def values(self, step: int = 1) -> NDArray[Any]:
        """The raw plane, (H, W), or (H, W, C) with colours or channels; every `step`-th pixel."""
        index: list[int | slice] = [slice(None, None, step) if n is None else n for n in self.plane]
        channels = self.channels
        if channels is not None and channels.axis is not None:
            index[channels.axis] = slice(None) if channels.chosen is None else channels.chosen
        values = np.asarray(self.array[tuple(index)])
        if channels is not None and self._stacked:
            before = sum(number is None for number in self.plane[: channels.axis])
            return np.moveaxis(values, before, -1)
        return values if channels is None or self._all or not self.rgb else values[..., channels.chosen]

    @property
    def _all(self) -> bool:
        return self.channels is None or self.channels.chosen is None

    @property
    def _stacked(self) -> bool:
        return self.channels is not None and self.channels.axis is not None and self._all


def source_on_show(image: Image, dims: Dims) -> Source:
    """The plane of an image that the viewer shows."""
    grid, plane = grid_of(image), current_plane(image, dims)
    pixel = pixel_size(image, plane_axes(image, dims))
    return Source(image, image.name, pixels_of(image), image.rgb, grid, plane, pixel, channels_of(image))


def every_source(image: Image, dims: Dims) -> Iterator[Source]:
    """All planes of an image, in the orientation on show."""
    shown = source_on_show(image, dims)
    for plane in every_plane(shown.grid, plane_axes(image, dims)):
        yield replace(shown, plane=plane)


@dataclass(frozen=True, eq=False)
class Painted:
    """An image and its painted labels. The None axes of `source.plane` are the axes of its planes."""

    source: Source
    labels: Any
    whole_image: bool

    def planes(self) -> Iterator[tuple[Source, NDArray[np.int32]]]:
        """The annotated planes, each with a copy of its labels.

        Raises
        ------
        AnnotationError
            The shape of the labels differs from the image's.
        """
        labels, grid = np.asarray(self.labels), self.source.grid
        if labels.shape != grid:
            raise AnnotationError(
                f"The annotation of '{self.source.name}' has shape {labels.shape}, the image {grid}: "
                "make a new annotation layer for this image."
            )
        rows, columns = (axis for axis, number in enumerate(self.source.plane) if number is None)
        touched = np.asarray(labels.any(axis=(rows, columns)))
        for plane in every_plane(grid, (rows, columns)):
            if touched[tuple(number for number in plane if number is not None)]:
                yield replace(self.source, plane=plane), labels[window(plane)].copy()


@dataclass(frozen=True, eq=False)
class Count:
    """The painted cells of one plane, and whether background is painted."""

    layer: Image
    plane: PlaneIndex
    cells: int
    background: bool


@dataclass(frozen=True)
class Tally:
    """What is annotated so far: in total, in words (`str`), and plane by plane."""

    planes: int = 0
    cells: int = 0
    background: bool = False
    counts: tuple[Count, ...] = ()

    def __str__(self) -> str:
        if not self.planes:
            return "Nothing annotated yet."
        images = f"{self.planes} image{'s' * (self.planes != 1)}"
        cells = f"{self.cells or 'no'} cell{'s' * (self.cells != 1)}"
        return f"{images}: {cells}, {'background painted' if self.background else 'no background yet'}"


def tally(painted: Sequence[Painted]) -> Tally:
    """Count annotated planes and painted cells; skip a layer whose shape differs from its image's."""
    from skimage.measure import label

    counts = []
    for layer in painted:
        if np.shape(layer.labels) != layer.source.grid:
            continue
        first_cell = 1 if layer.whole_image else 2
        for source, labels in layer.planes():
            cells = int(label(np.where(labels >= first_cell, labels, 0), connectivity=2).max())
            background = bool((labels == first_cell - 1).any())
            counts.append(Count(source.layer, source.plane, cells, background))
    return Tally(
        len(counts),
        sum(count.cells for count in counts),
        any(count.background for count in counts),
        tuple(counts),
    )


@dataclass(frozen=True, eq=False)
class PlaneResult:
    """The instances of one plane, their measurements, and their provenance."""

    source: Source
    labels: NDArray[np.int32]
    table: dict[str, NDArray[Any]]
    provenance: dict[str, Any]
