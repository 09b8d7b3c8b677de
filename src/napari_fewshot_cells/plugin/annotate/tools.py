"""Which annotation tool is in hand: buttons and keys take a brush or a tool for corrections."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from ...base.errors import AnnotationError
from ..layers.brushes import brush_in_hand, number_next_contour
from ..layers.planes import grid_of
from .mouse_drag import Gesture
from .tool_registry import Tool, registered_tools
from .touch import Touch

if TYPE_CHECKING:
    from napari.layers import Labels

    from ..session.session import Session
    from .touch import Position


def _reason_disabled(session: Session, tool: Tool) -> str | None:
    """Why a tool cannot be taken, or None if it can."""
    reason = tool.reason_disabled(session)
    image, annotation = session.image, session.annotation
    if reason is not None or image is None or annotation is None:
        return reason
    layer = annotation.layer
    if layer.data.shape != grid_of(image):
        return (
            f"'{layer.name}' has shape {layer.data.shape}, the image '{image.name}' {grid_of(image)}; "
            "make a new annotation layer for this image."
        )
    if not layer.editable:
        return f"'{layer.name}' cannot be edited in napari; make a new annotation layer for this image."
    if annotation.whole_image and tool.paints_background:
        return "'Whole image annotated' is on: unpainted pixels are background. Erase what is not a cell."
    return None


class Tools:
    """Takes tools of the registry in hand, one at a time.

    A brush is one of napari's modes. The other tools need the annotation layer active and in pan-and-zoom
    mode. If either changes, the tool is put down.

    Attributes
    ----------
    known : dict of str to Tool
        The tools by name, as registered when this object was made.

    Signals
    -------
    changed
        Another tool is in hand, or none.
    refused : str
        Why an action was not done.
    resolved : str
        The last refusal, which no longer holds because the next action was done.
    """

    changed = Signal()
    refused = Signal(str)
    resolved = Signal(str)

    def __init__(self, session: Session) -> None:
        self.known = {tool.name: tool for tool in registered_tools()}
        self._session = session
        self._layer: Labels | None = None
        self._tool: Tool | None = None
        self._gesture: Gesture | None = None
        self._last_refusal = ""
        self._activity = session.viewer.layers.selection.events.active
        self._activity.connect(self._on_in_hand)
        self._followed = session.any_of("image", "layers", "results", "view")
        self._followed.connect(self._on_session)
        self._on_session()

    def close(self) -> None:
        """Put the tool down and disconnect from the viewer and the session; closing twice is fine."""
        self._activity.disconnect(self._on_in_hand)
        self._followed.disconnect(self._on_session)
        self._follow(None)

    @property
    def in_hand(self) -> str | None:
        """Name of the tool that the left mouse button uses now; None for none."""
        if self._tool is not None:
            return self._tool.name
        return None if self._layer is None else brush_in_hand(self._session.viewer, self._layer)

    def reason_disabled(self, name: str) -> str | None:
        """Why a tool cannot be taken, or None if it can."""
        return _reason_disabled(self._session, self.known[name])

    def take(self, name: str) -> None:
        """Take a tool and put down the one in hand; taking a correction tool again only puts it down."""
        tool, held = self.known[name], self._tool
        self._put_down()
        if tool != held:
            self._attempt(self._take, tool)
        self.changed.emit()

    def _take(self, tool: Tool) -> None:
        session = self._session
        self._check(tool)
        assert session.image is not None, "every tool is disabled without an image"
        annotation = session.annotation
        layer = session.annotations.create(session.image) if annotation is None else annotation.layer
        layer._overlays["polygon"].points = []  # otherwise napari keeps an unfinished contour
        tool.take(session, layer)
        if tool.paint is not None:
            self._tool = tool
            done = partial(self._attempt, self._on_gesture, tool, tool.paint, layer)
            self._gesture = Gesture(layer, session.viewer.dims, done, draws_box=tool.draws_box)

    def _put_down(self) -> None:
        if self._gesture is not None:
            self._gesture.stop()
        self._tool = self._gesture = None

    def _on_gesture(
        self,
        tool: Tool,
        paint: Callable[[Touch], None],
        layer: Labels,
        start: Position,
        end: Position | None,
    ) -> None:
        self._check(tool)
        if tool.draws_box and end is None:
            raise AnnotationError("That was a click: drag from one corner of the box to the opposite one.")
        if tool.draws_box or end is None:  # a drag without a box moved the camera
            paint(Touch(self._session, layer, (start,) if end is None else (start, end)))

    def _check(self, tool: Tool) -> None:
        reason = _reason_disabled(self._session, tool)
        if reason is not None:
            raise AnnotationError(reason)

    def _attempt(self, action: Callable[..., None], *given: object) -> None:
        """Run an action; if it is refused, emit why."""
        try:
            action(*given)
        except AnnotationError as error:
            self._last_refusal = str(error)
            self.refused.emit(self._last_refusal)
        else:
            refusal, self._last_refusal = self._last_refusal, ""
            if refusal:
                self.resolved.emit(refusal)

    # --- signals of the session, the viewer and the annotation layer

    def _follow(self, layer: Labels | None) -> None:
        """Connect to a layer and bind its keys; disconnect from the previous layer."""
        if layer is self._layer:
            return
        self._put_down()
        if self._layer is not None:
            for event, slot in self._events(self._layer):
                event.disconnect(slot)
            for tool in self._with_keys():
                self._layer.bind_key(tool.key, None)
        if layer is not None:
            for event, slot in self._events(layer):
                event.connect(slot)
            for tool in self._with_keys():
                layer.bind_key(tool.key, _pressed(self.take, tool.name), overwrite=True)
        self._layer = layer

    def _with_keys(self) -> list[Tool]:
        return [tool for tool in self.known.values() if not tool.napari_binds_key]

    def _events(self, layer: Labels) -> list[tuple[Any, Callable[..., None]]]:
        events = layer.events
        in_hand = [(event, self._on_in_hand) for event in (events.mode, events.selected_label)]
        return [*in_hand, (events.paint, self._on_paint)]

    def _on_session(self) -> None:
        annotation = self._session.annotation
        self._follow(annotation.layer if annotation else None)
        if self._tool is not None and _reason_disabled(self._session, self._tool) is not None:
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
    """The function that napari calls for a key. A `partial` would not do: napari needs a `__name__`."""

    def press(_: Labels) -> None:
        take(name)

    return press
