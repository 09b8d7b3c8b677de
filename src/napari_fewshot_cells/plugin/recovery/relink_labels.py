"""Links painted labels to their image once the user opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtCore import QObject, Signal, Slot

from ..jobs.threads import run_function
from ..layers.metadata import IMAGE, WHOLE_IMAGE, noted
from ..layers.planes import grid_of, pixels_of
from .read_project import fingerprint_or_none, is_same_image

if TYPE_CHECKING:
    from napari.utils.events import Event

    from ...data.fingerprint import Fingerprint
    from ..session.session import Session


class LabelRelinker(QObject):
    """Links each new image to the labels that were painted on the same pixels before."""

    failed = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._stopped = False
        session.viewer.layers.events.inserted.connect(self._on_inserted)

    def stop(self) -> None:
        """Stop listening to the viewer. It may be called twice."""
        if not self._stopped:
            self._stopped = True
            self._session.viewer.layers.events.inserted.disconnect(self._on_inserted)

    def _layers_for(self, image: Image) -> list[Labels]:
        annotations = self._session.annotations
        return [
            labels
            for labels in annotations.labels
            if IMAGE in noted(labels)
            and annotations.image_of(labels) is None
            and labels.data.shape == grid_of(image)
        ]

    def _on_inserted(self, event: Event) -> None:
        image = event.value
        if image in self._session.annotations.images and self._layers_for(image):
            pixels = pixels_of(image)
            run_function(_with_fingerprint, image, pixels, then=self._on_known, failed=self.failed.emit)

    @Slot(object)
    def _on_known(self, known: tuple[Image, Fingerprint | None]) -> None:
        image, found = known
        annotations = self._session.annotations
        if self._stopped or image not in annotations.images or annotations.of(image) is not None:
            return
        for labels in self._layers_for(image):
            if is_same_image(noted(labels)[IMAGE], found):
                annotations.link(image, labels, whole_image=noted(labels).get(WHOLE_IMAGE, False))
                break


def _with_fingerprint(image: Image, array: Any) -> tuple[Image, Fingerprint | None]:
    return image, fingerprint_or_none(array)
