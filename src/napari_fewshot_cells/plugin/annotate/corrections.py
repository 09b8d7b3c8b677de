"""Corrections by one click or drag: accept or reject a predicted object, annotate a box.

Each correction paints only pixels that are not annotated yet: a person's own paint stays. Each is one step of
napari's undo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...base.errors import AnnotationError
from ..layers.brushes import BACKGROUND_LABEL, FIRST_CELL, free_label
from ..layers.planes import window
from .touch import Touch, box_between

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]


def accept(touch: Touch) -> None:
    """Paint the predicted object that was clicked on as a cell.

    If most of an annotated cell, such as a stroke, lies inside the object, that cell is completed. Otherwise
    the object becomes a new cell.

    Raises
    ------
    AnnotationError
        There is no object at the click, all of it is annotated already, or no label is free.
    """
    shape = _object_at(touch)
    painted = touch.painted
    paint(touch, shape, _cell_within(painted, shape) or free_label(painted), "this object")


def reject(touch: Touch) -> None:
    """Paint the predicted object that was clicked on as background; raises as `accept` does."""
    paint(touch, _object_at(touch), BACKGROUND_LABEL, "this object")


def annotate_box(touch: Touch) -> None:
    """Paint the pixels of a box that are not annotated yet as background.

    Raises
    ------
    AnnotationError
        The box lies outside the image, or all of it is annotated.
    """
    inside = np.zeros(touch.painted.shape, np.bool_)
    corner, opposite = touch.pixels_on(touch.labels)
    inside[box_between(corner, opposite)] = True
    if not inside.any():
        raise AnnotationError("The box lies outside the image; drag it over the image.")
    paint(touch, inside, BACKGROUND_LABEL, "the box")


def paint(touch: Touch, shape: Mask, number: int, what: str) -> None:
    """Paint the pixels of a shape that are not annotated yet, as one step of napari's undo.

    Parameters
    ----------
    touch : Touch
    shape : ndarray, bool, (H, W)
        On the plane that was touched.
    number : int
        The label: 1 for background, 2 and more for a cell; see `layers.brushes.free_label`.
    what : str
        Name of the shape in the error message, such as "the box".

    Raises
    ------
    AnnotationError
        All of it is annotated already.
    """
    rows_columns = iter(np.nonzero(shape & (touch.painted == 0)))
    indices = [next(rows_columns) if place is None else place for place in touch.plane]
    pixels = tuple(np.broadcast_arrays(*indices))
    if not pixels[0].size:
        raise AnnotationError(f"All of {what} is annotated already; erase what you want to change.")
    touch.labels.data_setitem(pixels, number)


def _object_at(touch: Touch) -> Mask:
    predicted = touch.session.results.of(touch.session.image)
    assert predicted is not None, "the tool is disabled without a prediction"
    objects = predicted.data[window(touch.plane)]
    (point,) = touch.pixels_on(predicted)
    pixel = tuple(round(float(position)) for position in point)
    on_image = all(0 <= position < size for position, size in zip(pixel, objects.shape, strict=True))
    if not on_image or not objects[pixel]:
        raise AnnotationError(f"There is no predicted object here; click an object of '{predicted.name}'.")
    found: Mask = objects == objects[pixel]
    return found


def _cell_within(painted: NDArray[np.integer], shape: Mask) -> int | None:
    """Label of the cell with most pixels inside a shape, if more than half of that cell is inside."""
    numbers, counts = np.unique(painted[shape & (painted >= FIRST_CELL)], return_counts=True)
    if not numbers.size:
        return None
    number, count = int(numbers[counts.argmax()]), int(counts.max())
    return number if 2 * count > np.count_nonzero(painted == number) else None
