"""Outlines the region to annotate next, in a shapes layer of the plugin."""

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
    """At most one layer. The user may delete or rename it."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Shapes | None = None
        self._around: tuple[Image, PlaneIndex, Box] | None = None
        self._in_view: Image | None = None

    @property
    def layer(self) -> Shapes | None:
        """The layer, or None if there is none."""
        return self._layer if self._layer is not None and self._layer in self._viewer.layers else None

    def show(self, image: Image, plane: PlaneIndex, box: Box) -> None:
        """Outline a region instead of the last one. The active layer stays the same.

        If the user deleted the outline, the same region is not outlined again.
        """
        if (image, plane, box) == self._around:
            return
        self._around = image, plane, box  # first, because adding a layer makes the panel call `show` again
        self._in_view = None
        before = self.layer
        if before is not None and before.ndim == image.ndim:
            # Removing a layer takes napari 0.25 s, because it runs the garbage collector.
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
        """Show the outline only while its own image is in view."""
        if image == self._in_view:
            return
        self._in_view = image
        if self.layer is not None and self._around is not None:
            self.layer.visible = image == self._around[0]

    def remove(self) -> None:
        """Remove the outline. It may be called twice."""
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
