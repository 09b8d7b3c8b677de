"""What is in hand for annotating, taken by a button or a key: a brush, or a tool for corrections."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from ...base.errors import AnnotationError
from ..layers.brushes import (
    BACKGROUND,
    BRUSHES,
    CELL,
    CONTOUR,
    bring_forward,
    brush_in_hand,
    number_next_contour,
    take_brush,
)
from ..layers.planes import current_plane, grid_of, plane_axes
from ..layers.result_layers import is_prediction
from ..session.disabled_reasons import reason_brush_disabled, reason_display_disabled
from .corrections import accept, annotate_box, reject
from .mouse_drag import Gesture

if TYPE_CHECKING:
    from napari.layers import Labels

    from ..session.session import Session
    from .mouse_drag import Position

ACCEPT, REJECT, BOX = "Accept object", "Reject object", "Annotate box"
TOOLS = (ACCEPT, REJECT, BOX)

KEYS = {CELL: "C", BACKGROUND: "G", CONTOUR: "D", BOX: "S", ACCEPT: "A", REJECT: "R"}
"""All under the left hand, and none that napari uses on a labels layer; its own E is *Erase* already."""


def reason_disabled(session: Session, name: str) -> str | None:
    """Why a brush or a tool cannot be taken; None where it can."""
    image, annotation = session.image, session.annotation
    if name in (ACCEPT, REJECT) and image is not None:
        predicted = session.results.of(image)
        if predicted is None or not is_prediction(predicted):
            return f"There is no prediction of '{image.name}' yet: fine-tune or predict first."
        reason = reason_display_disabled(session)
    else:
        reason = reason_brush_disabled(session)
    if reason is not None or annotation is None or image is None:
        return reason
    layer = annotation.layer
    if layer.data.shape != grid_of(image):
        return (
            f"'{layer.name}' has shape {layer.data.shape}, the image '{image.name}' {grid_of(image)}; "
            "make a new annotation layer for this image."
        )
    if not layer.editable:
        return f"napari lets nobody paint on '{layer.name}'; make a new annotation layer for this image."
    if annotation.whole_image and name in (BACKGROUND, REJECT, BOX):
        return "'Whole image annotated' is on: what is not painted is background. Erase what is no cell."
    return None


class Tools:
    """The brushes, and beside them *Accept object*, *Reject object* and *Annotate box*.

    A brush is a mode of napari's. The three tools work in napari's pan and zoom mode of the annotation layer,
    and are put down when it leaves that mode or is no longer the active layer.

    Signals
    -------
    changed
        Something else is in hand.
    told
        Why something was not done.
    taken_back
        What was told last no longer holds.
    """

    changed = Signal()
    told = Signal(str)
    taken_back = Signal(str)

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layer: Labels | None = None
        self._tool: str | None = None
        self._gesture: Gesture | None = None
        self._last_told = ""
        self._activity = session.viewer.layers.selection.events.active
        self._activity.connect(self._on_in_hand)
        self._followed = session.any_of("image", "layers", "results", "view")
        self._followed.connect(self._on_session)
        self._on_session()

    def close(self) -> None:
        """Put down what is in hand and listen to nobody any more; closing twice is fine."""
        self._activity.disconnect(self._on_in_hand)
        self._followed.disconnect(self._on_session)
        self._follow(None)

    @property
    def in_hand(self) -> str | None:
        """The brush or tool that the mouse would work with now."""
        if self._tool is not None or self._layer is None:
            return self._tool
        return brush_in_hand(self._session.viewer, self._layer)

    def take(self, name: str) -> None:
        """Take a brush or a tool; the tool that is in hand is put down by this."""
        held = self._tool
        self._put_down()
        if name != held:
            self._attempt(self._take, name)
        self.changed.emit()

    def _take(self, name: str) -> None:
        session = self._session
        self._check(name)
        assert session.image is not None, "every tool is off without an image"
        annotation = session.annotation
        layer = session.annotations.create(session.image) if annotation is None else annotation.layer
        layer._overlays["polygon"].points = []  # napari would leave a contour that is not closed standing
        if name in BRUSHES:
            take_brush(session.viewer, layer, name)
            return
        bring_forward(session.viewer, layer)
        layer.mode = "pan_zoom"
        predicted = session.results.of(session.image)
        if name != BOX and predicted is not None:
            predicted.visible = True
        self._tool = name
        self._gesture = Gesture(
            layer, session.viewer.dims, partial(self._attempt, self._correct), draws_box=name == BOX
        )

    def _put_down(self) -> None:
        if self._gesture is not None:
            self._gesture.stop()
        self._tool = self._gesture = None

    def _correct(self, start: Position, end: Position | None) -> None:
        session, layer = self._session, self._layer
        assert self._tool is not None, "a gesture ends with its tool"
        assert layer is not None, "a tool is put down with its layer"
        self._check(self._tool)
        plane = current_plane(layer, session.viewer.dims)
        if self._tool == BOX:
            if end is None:
                raise AnnotationError(
                    "That was a click; press in one corner of the box, let go in the opposite."
                )
            annotate_box(layer, plane, self._on_plane(layer, start), self._on_plane(layer, end))
        elif end is None:  # a drag has moved the camera
            predicted = session.results.of(session.image)
            assert predicted is not None, "the tool is off without a prediction"
            paint = accept if self._tool == ACCEPT else reject
            paint(layer, predicted, plane, self._on_plane(predicted, start))

    def _on_plane(self, layer: Labels, position: Position) -> np.ndarray:
        """Row and column of a layer's plane at a position in the world."""
        return layer.world_to_data(position)[list(plane_axes(layer, self._session.viewer.dims))]

    def _check(self, name: str) -> None:
        reason = reason_disabled(self._session, name)
        if reason is not None:
            raise AnnotationError(reason)

    def _attempt(self, action: Callable[..., None], *given: object) -> None:
        """Do it, or tell why it cannot be done."""
        try:
            action(*given)
        except AnnotationError as error:
            self._last_told = str(error)
            self.told.emit(self._last_told)
        else:
            told, self._last_told = self._last_told, ""
            if told:
                self.taken_back.emit(told)

    # --- what the session, the viewer and the annotation layer tell

    def _follow(self, layer: Labels | None) -> None:
        """Listen to a layer and to its keys, and no longer to the one of before."""
        if layer is self._layer:
            return
        self._put_down()
        if self._layer is not None:
            for event, slot in self._events(self._layer):
                event.disconnect(slot)
            for key in KEYS.values():
                self._layer.bind_key(key, None)
        if layer is not None:
            for event, slot in self._events(layer):
                event.connect(slot)
            for name, key in KEYS.items():
                layer.bind_key(key, _pressed(self.take, name), overwrite=True)
        self._layer = layer

    def _events(self, layer: Labels) -> list[tuple[Any, Callable[..., None]]]:
        events = layer.events
        in_hand = [(event, self._on_in_hand) for event in (events.mode, events.selected_label)]
        return [*in_hand, (events.paint, self._on_paint)]

    def _on_session(self) -> None:
        annotation = self._session.annotation
        self._follow(annotation.layer if annotation else None)
        if self._tool is not None and reason_disabled(self._session, self._tool) is not None:
            self._put_down()

    def _on_in_hand(self) -> None:
        if self._tool is not None:
            active = self._session.viewer.layers.selection.active
            if self._layer is None or active != self._layer or self._layer.mode != "pan_zoom":
                self._put_down()
        self.changed.emit()

    def _on_paint(self) -> None:
        self._attempt(number_next_contour, self._session.viewer, self._layer)


def _pressed(take: Callable[[str], None], name: str) -> Callable[[Labels], None]:
    """What napari calls for a key; it asks for the function's name, which a `partial` lacks."""

    def press(_: Labels) -> None:
        take(name)

    return press
