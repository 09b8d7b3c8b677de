"""Adds layers without taking the brush from the user, and hardly blocks the GUI."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    import numpy as np
    from napari.components import LayerList
    from napari.components.overlays import Overlay
    from napari.layers import Labels, Layer
    from numpy.typing import NDArray

_TOUCHED = 2**20  # pixels at a time


def insert_unselected(layers: LayerList, index: int, layer: Layer) -> None:
    """Insert a layer; the selected and active layers stay the same.

    The selection's signals are blocked meanwhile. Otherwise napari would build the controls of the new layer
    and then those of the old one.
    """
    selection = layers.selection
    selected = set(selection)
    with selection.events.blocker_all():
        layers.insert(index, layer)
        selection.update(selected)
        selection.discard(layer)


def touch(data: NDArray[np.int32], row: int = 0) -> None:
    """Make the system allocate an empty array's memory, some rows per frame. At once it would take 0.1 s."""
    rows = max(1, _TOUCHED // max(1, data[0].size))
    data[row : row + rows] |= 0  # keeps what was written meanwhile
    if row + rows < len(data):
        QTimer.singleShot(FRAME, partial(touch, data, row + rows))


def hide_outlines(layer: Labels) -> list[Overlay]:
    """Hide the outlines that napari draws for the brush and the polygon; return them.

    napari makes the visuals of an outline as soon as it is visible. They take three fifths of the time for
    which a new layer blocks the GUI, and nobody can paint on the layer yet.
    """
    outlines = [overlay for overlay in layer._overlays.values() if overlay.visible]
    for overlay in outlines:
        overlay.visible = False
    return outlines


def show_one_by_one(outlines: list[Overlay]) -> None:
    """Show outlines again, one per frame, starting with the next frame."""
    QTimer.singleShot(FRAME, partial(_show_first, outlines))


def _show_first(outlines: list[Overlay]) -> None:
    if outlines:
        outlines[0].visible = True
        show_one_by_one(outlines[1:])


FRAME = 20  # ms; enough for the GUI to draw what an event changed
