"""The temporary layer in which a model in training shows what it has learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils import Colormap

from .annotations import METADATA, PREVIEW
from .planes import PlaneIndex, geometry_of, grid_of
from .previews import Part, Preview, View

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.utils.events import Event

    from .session import Session

_COLOURS = Colormap([[1, 0.55, 0, 0], [1, 0.55, 0, 0.8]], name="preview of cells")
_LEAST = 16  # px of an image that must be in view


class PreviewLayer:
    """One image layer, there while a training shows previews. Belongs to the main thread.

    Attributes
    ----------
    wanted : View or None
        What a preview should be of, as of the last `look`; the worker thread reads it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layer: Image | None = None
        self._image: Image | None = None
        self._unwanted = False
        self.wanted: View | None = None

    def begin(self) -> None:
        """A training begins."""
        self._unwanted = False
        self.look()

    def look(self) -> None:
        """Take note of what is in view, and of whether anybody wants to see a preview still."""
        session = self._session
        if not session.preview:
            self.remove()
        image = session.image
        if image is None or not session.preview or self._unwanted or session.viewer.dims.ndisplay == 3:
            self.wanted = None
        else:
            source = session.source(image)
            self.wanted = View(source, visible_part(image, source.plane))

    def show(self, preview: Preview) -> None:
        """Show what was predicted of a view, unless its image is gone or nobody wants to see it any more."""
        source, image = preview.source, preview.source.layer
        self.look()
        layers = self._session.viewer.layers
        if self.wanted is None or image not in layers or grid_of(image) != source.grid:
            return
        data = preview.probability.reshape(_shape(source.plane, preview.probability.shape))
        place = {**geometry_of(image), "translate": _corner(image, source.plane, preview.part)}
        if self._layer is None or image != self._image or self._layer.ndim != data.ndim:
            self.remove()
            self._add(image, data, place)
        else:
            self._layer.data = data
            self._layer.translate = place["translate"]

    def remove(self) -> None:
        """Take the layer away, if it is there."""
        layer, self._layer, self._image = self._layer, None, None
        if layer is None:
            return
        layers = self._session.viewer.layers
        layers.events.removed.disconnect(self._on_removed)
        if layer in layers:
            layers.remove(layer)

    def owns(self, layer: Layer) -> bool:
        """Whether a layer, perhaps just removed, is or was the preview and no layer of the user's."""
        return PREVIEW in layer.metadata.get(METADATA, {})

    def _add(self, image: Image, data: Any, place: dict[str, Any]) -> None:
        layers = self._session.viewer.layers
        selected = set(layers.selection)
        layer = Image(
            data,
            name=f"preview {image.name}",
            colormap=_COLOURS,
            contrast_limits=(0, 1),
            blending="translucent",
            metadata={METADATA: {PREVIEW: True}},
            **place,
        )
        below = self._session.results.of(image) or image  # annotations stay on top
        with layers.selection.events.blocker_all():  # the brush stays where it was, as in `results`
            layers.insert(layers.index(below) + 1, layer)
            layers.selection.update(selected)
            layers.selection.discard(layer)
        self._layer, self._image = layer, image
        layers.events.removed.connect(self._on_removed)

    def _on_removed(self, event: Event) -> None:
        if event.value == self._layer:  # by a person
            self._unwanted, self.wanted = True, None
            self.remove()
        elif event.value == self._image:
            self.remove()


def visible_part(image: Image, plane: PlaneIndex) -> Part:
    """Rows and columns of a plane that the canvas shows; all of them where it has not been drawn yet."""
    corners = np.asarray(image.corner_pixels, float)
    if image.multiscale:
        corners = corners * image.downsample_factors[image.data_level]
    spans = []
    for axis, number in enumerate(plane):
        if number is None:
            side = grid_of(image)[axis]
            low, high = (
                int(np.clip(at, 0, side)) for at in (corners[0, axis], np.ceil(corners[1, axis]) + 1)
            )
            spans.append(slice(low, high) if high - low >= min(_LEAST, side) else slice(0, side))
    return spans[0], spans[1]


def _shape(plane: PlaneIndex, sides: tuple[int, ...]) -> tuple[int, ...]:
    left = iter(sides)
    return tuple(next(left) if number is None else 1 for number in plane)


def _corner(image: Image, plane: PlaneIndex, part: Part) -> Any:
    """The translation that brings a part's first pixel to where it lies in the image."""
    starts = iter(span.start for span in part)
    corner = [next(starts) if number is None else number for number in plane]
    return image.affine.inverse(image.data_to_world(corner))
