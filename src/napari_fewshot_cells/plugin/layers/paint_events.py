"""Signals every stroke on a labels layer of the viewer, whether it is an annotation or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from napari.layers import Labels
from psygnal import Signal

from .metadata import is_preview, is_temporary

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.utils.events import Event


class PaintEvents:
    """Listens to all labels layers of a viewer.

    `Annotations` signals strokes on annotations. This class also signals strokes on predictions.

    Signals
    -------
    painted
        The user painted on a layer that is not a preview.
    """

    painted = Signal()

    def __init__(self, layers: LayerList) -> None:
        self._layers = layers
        layers.events.inserted.connect(self._on_inserted)
        layers.events.removed.connect(self._on_removed)
        for layer in self._labels():
            self._listen(layer)

    def stop(self) -> None:
        """Stop listening."""
        self._layers.events.inserted.disconnect(self._on_inserted)
        self._layers.events.removed.disconnect(self._on_removed)
        for layer in self._labels():
            self._ignore(layer)

    def _labels(self) -> Iterator[Labels]:
        return (layer for layer in self._layers if isinstance(layer, Labels) and not is_temporary(layer))

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
