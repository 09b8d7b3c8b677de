"""The three brushes, in terms of a labels layer's mode and selected label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .planes import current_plane, window

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

CELL, BACKGROUND, ERASE = "Cell", "Background", "Erase"
BRUSHES = (CELL, BACKGROUND, ERASE)

_BACKGROUND_LABEL, _FIRST_CELL = 1, 2  # as in the core's annotations, which need SciPy to import
_BRUSHES_ACROSS = 64  # a brush of 8 px on 512 px: a few strokes fill a cell of 30 px, and fit between two


def take_brush(viewer: ViewerModel, labels: Labels, brush: str) -> None:
    """Make a labels layer active and ready to paint with a brush.

    *Cell* takes a label that is free on the plane on show, so that each press begins a new cell.
    """
    plane = labels.data[window(current_plane(labels, viewer.dims))]
    viewer.layers.selection.active = labels
    labels.visible = True
    if labels.brush_size == 10:  # napari's default: nobody has chosen a size yet
        labels.brush_size = int(np.clip(min(plane.shape) / _BRUSHES_ACROSS, 2, 40))
    if brush == ERASE:
        labels.mode = "erase"
        return
    labels.selected_label = (
        _BACKGROUND_LABEL if brush == BACKGROUND else max(_FIRST_CELL, int(np.max(plane)) + 1)
    )
    labels.mode = "paint"


def brush_in_hand(viewer: ViewerModel, labels: Labels) -> str | None:
    """The brush that a drag of the mouse would paint with now."""
    if viewer.layers.selection.active != labels or labels.mode not in ("paint", "erase"):
        return None
    if labels.mode == "erase":
        return ERASE
    return BACKGROUND if labels.selected_label == _BACKGROUND_LABEL else CELL
