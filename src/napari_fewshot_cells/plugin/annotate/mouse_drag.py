"""Mouse gestures on a labels layer: a click, or a box that is drawn while it is dragged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..layers.planes import plane_axes
from .touch import box_between

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Labels

    Position = tuple[float, ...]

_TREMOR = 3  # screen px that the mouse may move during a click


class Gesture:
    """Listens to the left mouse button on a layer in napari's pan-and-zoom mode, until `stop`.

    Parameters
    ----------
    layer : Labels
        The active layer, in pan-and-zoom mode.
    dims : Dims
        The viewer's.
    done : callable
        Called with the world coordinates of the press and of the release. For a click the second is None.
    draws_box : bool
        If true, a drag draws a box. Otherwise it moves the camera, as usual.
    """

    def __init__(
        self,
        layer: Labels,
        dims: Dims,
        done: Callable[[Position, Position | None], None],
        *,
        draws_box: bool,
    ) -> None:
        self._layer, self._dims, self._done = layer, dims, done
        self._draws_box = draws_box
        self._stopped = False
        layer.cursor = "cross"
        layer.mouse_pan = not draws_box
        layer.mouse_drag_callbacks.append(self._on_press)

    def stop(self) -> None:
        """Give the mouse back to napari, even in the middle of a drag."""
        self._stopped = True
        self._layer.mouse_drag_callbacks.remove(self._on_press)
        self._outline.visible = False
        if self._layer.mode == "pan_zoom":  # for every other mode napari has set both already
            self._layer.cursor = "standard"
            self._layer.mouse_pan = True

    @property
    def _outline(self) -> Any:
        return self._layer._overlays["selection_box"]  # napari's own, which follows the layer's transform

    def _on_press(self, layer: Labels, event: Any) -> Iterator[None]:
        # napari starts this generator on press and resumes it on each move and on release. `event` always
        # describes the newest.
        if event.button != 1 or event.modifiers:  # napari uses clicks with modifiers itself
            return
        pressed, start = np.array(event.pos), event.position
        is_click = True
        yield
        while event.type == "mouse_move" and not self._stopped:
            is_click &= bool(np.abs(event.pos - pressed).max() <= _TREMOR)
            if self._draws_box and not is_click:
                self._draw(start, event.position)
            yield
        if not self._stopped:
            self._outline.visible = False
            self._done(start, None if is_click else event.position)

    def _draw(self, start: Position, end: Position) -> None:
        axes = plane_axes(self._layer, self._dims)
        corners = (self._layer.world_to_data(position)[list(axes)] for position in (start, end))
        box = box_between(*corners)
        first, second = self._dims.displayed[-2:]
        rows, columns = box if first < second else box[::-1]  # the displayed axes may be swapped
        self._outline.bounds = (rows.start, columns.start), (rows.stop, columns.stop)
        self._outline.visible = True
