"""Corrections that take one move of the mouse: a predicted object accepted or rejected, a box annotated.

Each paints what is not annotated yet and leaves what is: a person's own paint wins. Each is one step of
napari's undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...base.errors import AnnotationError
from ..layers.brushes import BACKGROUND_LABEL, FIRST_CELL, free_label
from ..layers.planes import PlaneIndex, window

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Point = Sequence[float] | NDArray[np.floating]


def accept(labels: Labels, predicted: Labels, plane: PlaneIndex, point: Point) -> None:
    """Paint the whole shape of a predicted object as a cell.

    A cell of the annotation that lies mostly inside the shape, such as a stroke through it, is completed;
    otherwise the cell is a new one.

    Parameters
    ----------
    labels : Labels
        The annotation.
    predicted : Labels
        Of the same shape.
    plane : PlaneIndex
        Which plane of both.
    point : sequence of float, 2
        Row and column on it, in pixels.

    Raises
    ------
    AnnotationError
        There is no object, nothing of it is left to paint, or no label is free.
    """
    shape = _object_at(predicted, plane, point)
    painted = labels.data[window(plane)]
    _paint(labels, plane, shape, _cell_within(painted, shape) or free_label(painted), "this object")


def reject(labels: Labels, predicted: Labels, plane: PlaneIndex, point: Point) -> None:
    """Paint the whole shape of a predicted object as background; parameters and errors as of `accept`."""
    _paint(labels, plane, _object_at(predicted, plane, point), BACKGROUND_LABEL, "this object")


def annotate_box(labels: Labels, plane: PlaneIndex, corner: Point, opposite: Point) -> None:
    """Paint what is left of a box as background; the corners are rows and columns on the plane, in pixels.

    Raises
    ------
    AnnotationError
        The box lies outside the image, or all of it is annotated.
    """
    inside = np.zeros(labels.data[window(plane)].shape, np.bool_)
    inside[box_between(corner, opposite)] = True
    if not inside.any():
        raise AnnotationError("The box lies outside the image; drag it over what is annotated.")
    _paint(labels, plane, inside, BACKGROUND_LABEL, "the box")


def box_between(corner: Point, opposite: Point) -> tuple[slice, ...]:
    """Rows and columns of all pixels that a box touches, none of them negative."""
    ends = np.round([corner, opposite]).astype(int)
    first, last = ends.min(axis=0), ends.max(axis=0)
    return tuple(slice(max(0, low), max(0, high + 1)) for low, high in zip(first, last, strict=True))


def _object_at(predicted: Labels, plane: PlaneIndex, point: Point) -> Mask:
    objects = predicted.data[window(plane)]
    pixel = tuple(round(float(position)) for position in point)
    on_image = all(0 <= position < size for position, size in zip(pixel, objects.shape, strict=True))
    if not on_image or not objects[pixel]:
        raise AnnotationError(f"There is no predicted object here; click on one of '{predicted.name}'.")
    shape: Mask = objects == objects[pixel]
    return shape


def _cell_within(painted: NDArray[np.integer], shape: Mask) -> int | None:
    """The cell with most pixels in a shape, if most of its own pixels are."""
    numbers, counts = np.unique(painted[shape & (painted >= FIRST_CELL)], return_counts=True)
    if not numbers.size:
        return None
    number, count = int(numbers[counts.argmax()]), int(counts.max())
    return number if 2 * count > np.count_nonzero(painted == number) else None


def _paint(labels: Labels, plane: PlaneIndex, shape: Mask, number: int, what: str) -> None:
    rows_columns = iter(np.nonzero(shape & (labels.data[window(plane)] == 0)))
    indices = [next(rows_columns) if place is None else place for place in plane]
    pixels = tuple(np.broadcast_arrays(*indices))
    if not pixels[0].size:
        raise AnnotationError(f"All of {what} is annotated already; erase what is to change.")
    labels.data_setitem(pixels, number)
