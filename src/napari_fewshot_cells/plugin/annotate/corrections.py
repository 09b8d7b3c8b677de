"""Corrections that take one move of the mouse: a predicted object accepted or rejected, a box annotated.

Each paints what is not annotated yet and leaves what is: a person's own paint wins. Each is one step of
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
    """Paint the whole shape of the predicted object that was clicked on as a cell.

    A cell of the annotation that lies mostly inside the shape, such as a stroke through it, is completed;
    otherwise the cell is a new one.

    Raises
    ------
    AnnotationError
        There is no object, nothing of it is left to paint, or no label is free.
    """
    shape = _object_at(touch)
    painted = touch.painted
    paint(touch, shape, _cell_within(painted, shape) or free_label(painted), "this object")


def reject(touch: Touch) -> None:
    """Paint the whole shape of a predicted object as background; errors as of `accept`."""
    paint(touch, _object_at(touch), BACKGROUND_LABEL, "this object")


def annotate_box(touch: Touch) -> None:
    """Paint what is left of a box as background.

    Raises
    ------
    AnnotationError
        The box lies outside the image, or all of it is annotated.
    """
    inside = np.zeros(touch.painted.shape, np.bool_)
    corner, opposite = touch.on(touch.labels)
    inside[box_between(corner, opposite)] = True
    if not inside.any():
        raise AnnotationError("The box lies outside the image; drag it over what is annotated.")
    paint(touch, inside, BACKGROUND_LABEL, "the box")


def paint(touch: Touch, shape: Mask, number: int, what: str) -> None:
    """Paint what is not annotated yet of a shape, as one step of napari's undo.

    Parameters
    ----------
    touch : Touch
    shape : ndarray, bool, (H, W)
        On the plane that was touched.
    number : int
        The label: 1 for background, 2 and more for a cell; see also `layers.brushes.free_label`.
    what : str
        What the shape is called, for the message: "the box".

    Raises
    ------
    AnnotationError
        All of it is annotated already.
    """
    rows_columns = iter(np.nonzero(shape & (touch.painted == 0)))
    indices = [next(rows_columns) if place is None else place for place in touch.plane]
    pixels = tuple(np.broadcast_arrays(*indices))
    if not pixels[0].size:
        raise AnnotationError(f"All of {what} is annotated already; erase what is to change.")
    touch.labels.data_setitem(pixels, number)


def _object_at(touch: Touch) -> Mask:
    predicted = touch.session.results.of(touch.session.image)
    assert predicted is not None, "the tool is off without a prediction"
    objects = predicted.data[window(touch.plane)]
    (point,) = touch.on(predicted)
    pixel = tuple(round(float(position)) for position in point)
    on_image = all(0 <= position < size for position, size in zip(pixel, objects.shape, strict=True))
    if not on_image or not objects[pixel]:
        raise AnnotationError(f"There is no predicted object here; click on one of '{predicted.name}'.")
    found: Mask = objects == objects[pixel]
    return found


def _cell_within(painted: NDArray[np.integer], shape: Mask) -> int | None:
    """The cell with most pixels in a shape, if most of its own pixels are."""
    numbers, counts = np.unique(painted[shape & (painted >= FIRST_CELL)], return_counts=True)
    if not numbers.size:
        return None
    number, count = int(numbers[counts.argmax()]), int(counts.max())
    return number if 2 * count > np.count_nonzero(painted == number) else None
