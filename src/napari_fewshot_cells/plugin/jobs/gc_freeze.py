"""Full garbage collections stop the window: what lives as long as the panel is left out of them.

PyTorch's modules make so many objects that one takes 0.3 s, the layers of ten annotated images some more, and
napari makes one whenever a layer is removed.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Slot

from ..layers.metadata import is_preview

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.utils.events import Event


def leave_out_modules() -> None:
    """Collect now, while the panel opens, and leave out of later collections what has been imported."""
    gc.collect()
    gc.freeze()


class LeftOutLayers(QObject):
    """Leaves layers out as they come. Previews come and go, and are not left out."""

    def __init__(self, layers: LayerList, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._layers: LayerList | None = layers
        layers.events.inserted.connect(self._on_inserted)
        layers.events.removed.connect(self._on_removed)

    def stop(self) -> None:
        """Leave nothing out any more, modules neither; stopping twice is fine."""
        if self._layers is None:
            return
        self._layers.events.inserted.disconnect(self._on_inserted)
        self._layers.events.removed.disconnect(self._on_removed)
        self._layers = None
        gc.unfreeze()

    def _on_inserted(self, event: Event) -> None:
        if not is_preview(event.value):
            QTimer.singleShot(0, self._leave_out)

    def _on_removed(self, event: Event) -> None:
        if not is_preview(event.value):
            # The layer may be among what is left out: napari, whose turn is next, must find all of it
            gc.unfreeze()
            QTimer.singleShot(0, self._leave_out)

    @Slot()
    def _leave_out(self) -> None:
        if self._layers is not None:
            gc.freeze()
