"""The temporary layer that previews the model in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QTimer

from ..jobs.preview_job import Part, Preview, View
from ..layers.add_layer import FRAME, hide_outlines, insert_unselected
from ..layers.metadata import METADATA, PREVIEW
from ..layers.planes import PlaneIndex, geometry_of, grid_of, move, place_on

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.utils.events import Event

    from .session import Session

_LEVELS = 16  # of probability; a labels layer of levels blocks the GUI for less time than an image layer
_COLOURS = DirectLabelColormap(
    color_dict={None: (0, 0, 0, 0), **{n: (1, 0.55, 0, 0.8 * n / _LEVELS) for n in range(_LEVELS + 1)}}
)
_LEAST = 16  # px; if less of an image is in view, all of it is previewed


class PreviewLayer:
    """One labels layer, visible while a training is previewed. GUI thread only.

    Creating a napari layer blocks the GUI. So it is made before it is needed, and hidden until then.

    Attributes
    ----------
    wanted : View or None
        The view to preview, as of the last `follow_view`; the worker thread reads it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layer: Labels | None = None
        self._image: Image | None = None
        self._unwanted = False
        self._first = True
        self.wanted: View | None = None

    def begin(self) -> None:
        """Prepare for a new training."""
        self._unwanted, self._first = False, True
        self.follow_view()

    def keep_ready(self) -> None:
        """Make the layer if a training may soon need it."""
        session = self._session
        if session.preview and self._layer is None and session.annotation is not None and session.image:
            self._move_to(session.image)

    def follow_view(self) -> None:
        """Set `wanted` to what is in view, or to None if the user wants no preview."""
        session = self._session
        if not session.preview:
            self.hide()
        image = session.image
        if image is None or not session.preview or self._unwanted or session.viewer.dims.ndisplay == 3:
            self.wanted = None
        else:
            source = session.source(image)
            self.wanted = View(source, visible_part(image, source.plane))

    def show(self, preview: Preview) -> None:
        """Show a preview, unless its image was removed or the user no longer wants one."""
        source, image = preview.source, preview.source.layer
        self.follow_view()
        layers = self._session.viewer.layers
        if self.wanted is None or image not in layers or grid_of(image) != source.grid:
            return
        levels = np.rint(preview.probability * _LEVELS).astype(np.uint8)
        data = levels.reshape(_shape(source.plane, levels.shape))
        layer = self._layer
        if layer is None or self._first or image != self._image:  # the image may have moved since
            layer = self._move_to(image)
        layer.data = data
        move(layer, translate=_corner(image, source.plane, preview.part))
        if self._first:  # later the eye in the layer list decides
            self._first = False
            QTimer.singleShot(FRAME // 2, self._reveal)  # drawn while the training waits

    def hide(self) -> None:
        """Hide the layer, as the training is over."""
        self.wanted, self._first = None, True
        if self._layer is not None and self._layer.visible:
            self._layer.visible = False

    def remove(self) -> None:
        """Remove the layer if there is one."""
        layer, self._layer, self._image, self._first = self._layer, None, None, True
        if layer is None:
            return
        layers = self._session.viewer.layers
        layers.events.removed.disconnect(self._on_removed)
        if layer in layers:
            layers.remove(layer)

    def _reveal(self) -> None:
        if self._layer is not None and self.wanted is not None:
            self._layer.visible = True

    def _move_to(self, image: Image) -> Labels:
        layers, layer = self._session.viewer.layers, self._layer
        if layer is None or layer.ndim != image.ndim:
            self.remove()
            layer = self._add(image)
        else:
            place_on(layer, image)
            layer.name = f"preview {image.name}"
            layers.move(layers.index(layer), self._above(image))
        self._image = image
        return layer

    def _add(self, image: Image) -> Labels:
        layers = self._session.viewer.layers
        layer = Labels(
            np.zeros((1,) * image.ndim, np.uint8),
            name=f"preview {image.name}",
            colormap=_COLOURS,
            opacity=1,
            visible=False,
            metadata={METADATA: {PREVIEW: True}},
            **geometry_of(image),
        )
        layer.editable = False
        hide_outlines(layer)
        insert_unselected(layers, self._above(image), layer)
        self._layer = layer
        layers.events.removed.connect(self._on_removed)
        return layer

    def _above(self, image: Image) -> int:
        """The index in the layer list above the image and its result, below its annotation."""
        layers = self._session.viewer.layers
        return 1 + layers.index(self._session.results.layer_of(image) or image)

    def _on_removed(self, event: Event) -> None:
        if event.value == self._layer:  # by the user
            self._unwanted, self.wanted = True, None
            self.remove()
        elif event.value == self._image:
            self.remove()


def visible_part(image: Image, plane: PlaneIndex) -> Part:
    """The rows and columns of a plane that the canvas shows; all of them if it was not drawn yet."""
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
    """The translation that puts a part's first pixel at its place in the image."""
    starts = iter(span.start for span in part)
    corner = [next(starts) if number is None else number for number in plane]
    return image.affine.inverse(image.data_to_world(corner))
