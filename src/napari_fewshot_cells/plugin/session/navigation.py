"""Brings an image, a plane or a region into view, and hides the images that would cover it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..layers.planes import PlaneIndex, channel_axis, grid_of

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from .session import Session

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels of the plane; bottom and right are exclusive."""

_SEE_THROUGH = ("additive", "minimum")  # blendings that are meant to show images together


class Navigator:
    """Goes from image to image as through the pages of a book.

    Images that are opened one after the other lie on top of each other. If others would cover the wanted
    image, they are hidden with their annotations and results, and shown again when it is their turn. Nothing
    else is hidden.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._aside: list[Layer] = []

    def to(self, image: Image, plane: PlaneIndex, box: Box | None = None) -> None:
        """Select an image or its annotation, show a plane, and centre the plane or a region of it."""
        session = self._session
        viewer, before = session.viewer, session.image
        self._uncover(image)
        if viewer.layers.selection.active not in self._layers_of(image):
            annotation = session.annotations.of(image)
            viewer.layers.selection.active = annotation.layer if annotation else image
        if session.image != image:
            session.choose(image=image)
        middle = [
            (size - 1) / 2 if number is None else number
            for size, number in zip(grid_of(image), plane, strict=True)
        ]
        if box is not None:
            rows, columns = (axis for axis, number in enumerate(plane) if number is None)
            middle[rows], middle[columns] = (box[0] + box[2] - 1) / 2, (box[1] + box[3] - 1) / 2
        self._centre(image, middle)
        if before is not None and before != image:  # an image that fills the view as the last one did
            viewer.camera.zoom *= self._side(before) / self._side(image)

    def _centre(self, image: Image, point: list[float]) -> None:
        viewer, channels = self._session.viewer, channel_axis(image)
        world = np.asarray(image.data_to_world(point))
        offset = viewer.dims.ndim - len(world)
        for axis, value in enumerate(world, start=offset):
            if axis not in viewer.dims.displayed and axis - offset != channels:
                viewer.dims.set_point(axis, value)
        seen = [world[axis - offset] for axis in viewer.dims.displayed if axis >= offset]
        viewer.camera.center = (0.0, *seen)[-3:]

    def _uncover(self, image: Image) -> None:
        self._aside = [layer for layer in self._aside if layer in self._session.viewer.layers]
        for other in self._session.annotations.images:
            if other == image or other.blending in _SEE_THROUGH or not self._overlap(image, other):
                continue
            for layer in self._layers_of(other):
                if layer.visible:
                    layer.visible = False
                    self._aside.append(layer)
        for layer in self._layers_of(image):
            if layer in self._aside:
                self._aside.remove(layer)
                layer.visible = True
        image.visible = True

    def _layers_of(self, image: Image) -> list[Layer]:
        annotation, result = self._session.annotations.of(image), self._session.results.of(image)
        return [image, *([annotation.layer] if annotation else []), *([result] if result is not None else [])]

    def _overlap(self, one: Image, other: Image) -> bool:
        (low, high), (other_low, other_high) = self._seen(one), self._seen(other)
        return bool(np.all(low < other_high) and np.all(other_low < high))

    def _side(self, image: Image) -> float:
        low, high = self._seen(image)
        return float(np.max(high - low))

    def _seen(self, image: Image) -> np.ndarray:
        """First and last point along the displayed axes, in world coordinates; (2, 2)."""
        dims, extent = self._session.viewer.dims, image.extent.world
        offset = dims.ndim - extent.shape[1]
        return extent[:, [axis - offset for axis in dims.displayed if axis >= offset][-2:]]
