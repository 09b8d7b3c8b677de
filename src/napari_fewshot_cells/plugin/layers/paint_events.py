"""Hears every stroke on a labels layer of the viewer, whether it is an annotation or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Labels
from psygnal import Signal

from .annotation_layers import is_preview

if TYPE_CHECKING:
    from napari.utils.events import Event

    from ..session.session import Session


class Strokes:
    """Listens to the labels layers of a session as they come and go.

    Annotations tell by themselves; this is for a prediction that somebody paints on.

    Signals
    -------
    painted
        Somebody painted on a layer that is not a preview.
    """

    painted = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        session.viewer.layers.events.inserted.connect(self._on_inserted)
        session.viewer.layers.events.removed.connect(self._on_removed)
        for layer in session.annotations.labels:
            self._listen(layer)

    def stop(self) -> None:
        """Listen no longer."""
        self._session.viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._session.viewer.layers.events.removed.disconnect(self._on_removed)
        for layer in self._session.annotations.labels:
            self._ignore(layer)

    def _on_inserted(self, event: Event) -> None:
        if isinstance(event.value, Labels) and not is_preview(event.value):
            self._listen(event.value)

    def _on_removed(self, event: Event) -> None:
        if isinstance(event.value, Labels) and not is_preview(event.value):
            self._ignore(event.value)

    def _listen(self, labels: Labels) -> None:
        for event in (labels.events.paint, labels.events.labels_update):
            event.connect(self._on_painted)

    def _ignore(self, labels: Labels) -> None:
        for event in (labels.events.paint, labels.events.labels_update):
            event.disconnect(self._on_painted)

    def _on_painted(self) -> None:
        self.painted.emit()
