"""Links each image layer to its annotation layer: by identity, so renaming a layer is safe."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from psygnal import Signal

from ...base.errors import AnnotationError
from .metadata import ANNOTATION_OF, METADATA, WHOLE_IMAGE, is_temporary
from .planes import PlaneIndex, current_plane, geometry_of, grid_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event


@dataclass(frozen=True, eq=False)
class Annotation:
    """A labels layer on an image, and whether its label 0 means background."""

    layer: Labels
    whole_image: bool = False


class Annotations:
    """The annotation of each image layer of a viewer.

    If the metadata of a new labels layer names an image of the same shape, the layer is linked to it. Sample
    data rely on this.

    Signals
    -------
    changed
        Layers were added, removed or renamed, or a link changed.
    painted
        The labels of an annotation changed.
    """

    changed = Signal()
    painted = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._of: dict[Image, Annotation] = {}
        self._shown: dict[Labels, PlaneIndex] = {}
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        for layer in viewer.layers:
            layer.events.name.connect(self._on_renamed)
        self._link_named()

    def close(self) -> None:
        """Stop listening to the viewer."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for layer in self._viewer.layers:
            layer.events.name.disconnect(self._on_renamed)
        for image in tuple(self._of):
            self._unlink(image)

    @property
    def images(self) -> list[Image]:
        """The viewer's image layers, in its order."""
        return [layer for layer in self._viewer.layers if isinstance(layer, Image)]

    @property
    def labels(self) -> list[Labels]:
        """The viewer's labels layers, in its order, without the temporary ones."""
        layers = [layer for layer in self._viewer.layers if isinstance(layer, Labels)]
        return [layer for layer in layers if not is_temporary(layer)]

    def of(self, image: Image | None) -> Annotation | None:
        """The annotation of an image."""
        return None if image is None else self._of.get(image)

    def image_of(self, labels: Labels) -> Image | None:
        """The image that a labels layer annotates."""
        return next((image for image, annotation in self._of.items() if annotation.layer == labels), None)

    def items(self) -> list[tuple[Image, Annotation]]:
        """All images with an annotation, in the viewer's order."""
        return [(image, self._of[image]) for image in self.images if image in self._of]

    def create(self, image: Image) -> Labels:
        """Add an empty int32 annotation layer on the grid of an image, and link it."""
        labels = Labels(
            np.zeros(grid_of(image), np.int32),
            name=f"annotation {image.name}",
            opacity=0.6,
            metadata={METADATA: {ANNOTATION_OF: image.name}},
            **geometry_of(image),
        )
        self._viewer.add_layer(labels)
        self.link(image, labels)
        return labels

    def link(self, image: Image, labels: Labels | None, *, whole_image: bool = False) -> None:
        """Make a labels layer the annotation of an image; None unlinks it.

        Raises
        ------
        AnnotationError
            The shapes differ; the old link stays.
        """
        if labels is not None and labels.data.shape != grid_of(image):
            raise AnnotationError(
                f"'{labels.name}' has shape {labels.data.shape}, the image '{image.name}' {grid_of(image)}: "
                "make a new annotation layer for this image."
            )
        self._unlink(image)
        if labels is not None:
            labels = _itself(labels)
            other = self.image_of(labels)
            if other is not None:
                self._unlink(other)
            self._of[_itself(image)] = Annotation(labels, whole_image)
            self._remember(image)
            self._shown[labels] = current_plane(labels, self._viewer.dims)
            for event, slot in self._paint_events(labels):
                event.connect(slot)
        self.changed.emit()
        self.painted.emit()

    def set_whole_image(self, image: Image, whole_image: bool) -> None:
        """Set whether label 0 of an image's annotation means background."""
        self._of[image] = replace(self._of[image], whole_image=whole_image)
        self._remember(image)
        self.changed.emit()
        self.painted.emit()

    def _unlink(self, image: Image) -> None:
        annotation = self._of.pop(image, None)
        if annotation is not None:
            del self._shown[annotation.layer]
            for event, slot in self._paint_events(annotation.layer):
                event.disconnect(slot)

    def _paint_events(self, labels: Labels) -> list[tuple[Any, Callable[..., None]]]:
        events = labels.events.paint, labels.events.labels_update, labels.events.data
        return [*((event, self._on_painted) for event in events), (labels.events.set_data, self._on_drawn)]

    def _remember(self, image: Image) -> None:
        # by name, for the next time the panel opens
        annotation = self._of[image]
        noted = {ANNOTATION_OF: image.name, WHOLE_IMAGE: annotation.whole_image}
        metadata = annotation.layer.metadata
        annotation.layer.metadata = {**metadata, METADATA: {**metadata.get(METADATA, {}), **noted}}

    def _link_named(self) -> None:
        for labels in self.labels:
            noted = labels.metadata.get(METADATA, {})
            name = noted.get(ANNOTATION_OF)
            if name is None or self.image_of(labels) is not None:
                continue
            # if a sample is opened twice, napari calls the second image "cells [1]"
            called = re.compile(re.escape(name) + r"( \[\d+\])?")
            for image in self.images:
                fits = called.fullmatch(image.name) and labels.data.shape == grid_of(image)
                if fits and image not in self._of:
                    self.link(image, labels, whole_image=noted.get(WHOLE_IMAGE, False))
                    break

    def _on_inserted(self, event: Event) -> None:
        event.value.events.name.connect(self._on_renamed)
        if not is_temporary(event.value):
            self._link_named()
            self.changed.emit()

    def _on_removed(self, event: Event) -> None:
        layer = event.value
        layer.events.name.disconnect(self._on_renamed)
        if is_temporary(layer):
            return
        for image, annotation in tuple(self._of.items()):
            if layer in (image, annotation.layer):
                self._unlink(image)
        self.changed.emit()
        self.painted.emit()

    def _on_renamed(self, event: Event) -> None:
        if event.source in self._of:
            self._remember(event.source)
        self.changed.emit()

    def _on_painted(self) -> None:
        self.painted.emit()

    def _on_drawn(self, event: Event) -> None:
        # Undo, an edit of the array and `refresh` emit only this event. So does every step through a stack,
        # after which nothing needs counting.
        labels = event.source
        plane = current_plane(labels, self._viewer.dims)
        if plane == self._shown[labels]:
            self.painted.emit()
        self._shown[labels] = plane


def _itself(layer: Any) -> Any:
    """The layer behind napari's proxy, for comparison by identity."""
    return getattr(layer, "__wrapped__", layer)
