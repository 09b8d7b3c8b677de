"""Where a person clicked or dragged a box with a tool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..layers.planes import PlaneIndex, current_plane, plane_axes, window

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

    from ..session.session import Session

    Position = tuple[float, ...]
    Point = Sequence[float] | NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Touch:
    """A click on the annotation layer, or a box dragged over it.

    Attributes
    ----------
    session : Session
        Its chosen image is the annotated one.
    labels : Labels
        The annotation layer of that image.
    positions : tuple of tuple of float
        World coordinates: one position for a click, two opposite corners for a box.
    """

    session: Session
    labels: Labels
    positions: tuple[Position, ...]

    @property
    def plane(self) -> PlaneIndex:
        """The plane of the annotation layer that the viewer shows."""
        return current_plane(self.labels, self.session.viewer.dims)

    @property
    def painted(self) -> NDArray[np.integer]:
        """The labels on that plane now, (H, W)."""
        plane: NDArray[np.integer] = self.labels.data[window(self.plane)]
        return plane

    def pixels_on(self, layer: Labels) -> list[NDArray[np.floating]]:
        """Row and column of each position on the shown plane of a layer, in pixels, not rounded."""
        axes = list(plane_axes(layer, self.session.viewer.dims))
        return [layer.world_to_data(position)[axes] for position in self.positions]


def box_between(corner: Point, opposite: Point) -> tuple[slice, ...]:
    """Rows and columns of all pixels that a box touches; negative ones are cut off."""
    ends = np.round([corner, opposite]).astype(int)
    first, last = ends.min(axis=0), ends.max(axis=0)
    return tuple(slice(max(0, low), max(0, high + 1)) for low, high in zip(first, last, strict=True))
