"""The brushes: napari's own modes of a labels layer, each with the right label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...base.errors import AnnotationError
from .planes import current_plane, window

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

CELL, BACKGROUND, ERASE, CONTOUR = "Cell", "Background", "Erase", "Fill contour"
BRUSHES = (CELL, BACKGROUND, ERASE, CONTOUR)

BACKGROUND_LABEL, FIRST_CELL = 1, 2  # as in the core's annotations, whose import needs SciPy
NAPARI_BRUSH = 10  # napari's default size: the user has not chosen one
_BRUSHES_ACROSS = 64  # 8 px on 512 px: a few strokes fill a cell of 30 px, and one fits between two cells


def take_brush(viewer: ViewerModel, labels: Labels, brush: str) -> None:
    """Make a labels layer active and ready to paint with a brush.

    *Cell* and *Fill contour* select a label that is free on the plane on show: each press begins a new cell.

    Raises
    ------
    AnnotationError
        No label of the type is free.
    """
    plane = plane_on_show(viewer, labels)
    bring_forward(viewer, labels)
    if brush == ERASE:
        labels.mode = "erase"
        return
    labels.selected_label = BACKGROUND_LABEL if brush == BACKGROUND else free_label(plane)
    if brush == CONTOUR:
        labels.n_edit_dimensions = 2  # napari's polygon does nothing in three
        labels.mode = "polygon"
    else:
        labels.mode = "paint"


def brush_in_hand(viewer: ViewerModel, labels: Labels) -> str | None:
    """The brush that the mouse paints with now; None if it does not paint."""
    if viewer.layers.selection.active != labels:
        return None
    if labels.mode == "erase":
        return ERASE
    if labels.mode == "polygon":
        return CONTOUR if labels.selected_label >= FIRST_CELL else None
    if labels.mode == "paint":
        return BACKGROUND if labels.selected_label == BACKGROUND_LABEL else CELL
    return None


def number_next_contour(viewer: ViewerModel, labels: Labels) -> None:
    """After a contour, select a free label for the next one.

    Raises
    ------
    AnnotationError
        No label of the type is free.
    """
    if brush_in_hand(viewer, labels) == CONTOUR:
        labels.selected_label = free_label(plane_on_show(viewer, labels), besides=labels.selected_label)


def bring_forward(viewer: ViewerModel, labels: Labels) -> None:
    """Make a labels layer active and visible, and give it a useful brush size."""
    viewer.layers.selection.active = labels
    labels.visible = True
    if labels.brush_size == NAPARI_BRUSH:
        labels.brush_size = usual_brush_size(plane_on_show(viewer, labels).shape)


def usual_brush_size(height_width: tuple[int, ...]) -> int:
    """A useful brush size, in pixels, for a plane of that shape."""
    return int(np.clip(min(height_width) / _BRUSHES_ACROSS, 2, 40))


def plane_on_show(viewer: ViewerModel, labels: Labels) -> NDArray[np.integer]:
    """The labels of the plane that the viewer shows."""
    plane: NDArray[np.integer] = labels.data[window(current_plane(labels, viewer.dims))]
    return plane


def free_label(plane: NDArray[np.integer], *, besides: int = 0) -> int:
    """The label of a new cell: above all labels of the plane, or in a gap if the type allows no higher one.

    Raises
    ------
    AnnotationError
        All labels of the type are in use.
    """
    above, last = max(FIRST_CELL, int(np.max(plane)) + 1, besides + 1), np.iinfo(plane.dtype).max
    if above <= last:
        return above
    used = np.unique(np.append(plane.ravel(), besides).astype(np.int64))
    free = np.setdiff1d(np.append(used + 1, FIRST_CELL), used)
    free = free[(free >= FIRST_CELL) & (free <= last)]
    if not free.size:
        raise AnnotationError(
            f"All labels that {plane.dtype} can hold are in use. Right-click the layer to convert its type."
        )
    return int(free[0])
