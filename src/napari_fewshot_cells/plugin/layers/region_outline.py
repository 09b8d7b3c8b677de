"""The outline of one region: a shapes layer of ours that comes and goes and is nobody's image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Shapes

from .add_layer import insert_unselected
from .metadata import METADATA
from .planes import PlaneIndex, geometry_of, place_on

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from ...prediction.uncertainty import Box

NAME = "annotate next"
_COLOUR, _SHAPE = "#ffd400", "polygon"


class RegionOutline:
    """At most one layer; it may be deleted or renamed by anybody."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Shapes | None = None
        self._around: tuple[Image, PlaneIndex, Box] | None = None
        self._in_view: Image | None = None

    @property
    def layer(self) -> Shapes | None:
        """The layer, while it is there."""
        return self._layer if self._layer is not None and self._layer in self._viewer.layers else None

    def show(self, image: Image, plane: PlaneIndex, box: Box) -> None:
        """Draw the outline of a region, in place of the one of before; the active layer stays what it is.

        One that somebody has deleted is not drawn again.
        """
        if (image, plane, box) == self._around:
            return
        self._around = image, plane, box  # first: layers that come and go make the panel ask for it again
        self._in_view = None
        before = self.layer
        if before is not None and before.ndim == image.ndim:
            # napari takes a quarter of a second to remove a layer: the garbage collection that it does then
            place_on(before, image)
            before.data = [(_corners(plane, box), _SHAPE)]
            return
        self._layer = None
        if before is not None:
            self._viewer.layers.remove(before)
        layer = _outline(image, plane, box)
        insert_unselected(self._viewer.layers, len(self._viewer.layers), layer)
        self._layer = layer
        self._in_view = None

    def keep_with(self, image: Image | None) -> None:
        """Hide it while another image than its own is in view."""
        if image == self._in_view:
            return
        self._in_view = image
        if self.layer is not None and self._around is not None:
            self.layer.visible = image == self._around[0]

    def remove(self) -> None:
        """Take it away; twice is fine."""
        layer, self._layer, self._around = self.layer, None, None
        if layer is not None:
            self._viewer.layers.remove(layer)


def _outline(image: Image, plane: PlaneIndex, box: Box) -> Shapes:
    top, left, bottom, right = box
    layer = Shapes(
        [_corners(plane, box)],
        shape_type=_SHAPE,
        ndim=image.ndim,
        face_color="transparent",
        edge_color=_COLOUR,
        edge_width=max(1.0, min(bottom - top, right - left) / 80),
        name=NAME,
        metadata={METADATA: {"outline": True}},
        **geometry_of(image),
    )
    layer.editable = False
    return layer


def _corners(plane: PlaneIndex, box: Box) -> np.ndarray:
    rows, columns = (axis for axis, number in enumerate(plane) if number is None)
    top, left, bottom, right = box
    corners = np.array([[number or 0 for number in plane]] * 4, float)
    corners[:, rows] = np.array([top, top, bottom, bottom]) - 0.5
    corners[:, columns] = np.array([left, right, right, left]) - 0.5
    return corners
