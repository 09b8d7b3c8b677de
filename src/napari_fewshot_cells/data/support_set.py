"""What painted labels mean, and the support set made from them.

Label 0 means not annotated, 1 background, 2 and more cells. If the whole image is annotated, 0 means
background and everything above 0 is a cell, as in the paper's masks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import distance_transform_edt
from skimage.measure import label, regionprops

from ..base.errors import AnnotationError
from .contacts import touching_cells
from .plane import FloatImage, Labels, Plane

BACKGROUND = 1
FIRST_CELL = 2
MOST_SHOTS = 10

_SPECK_AREA = 9  # px; smaller pieces are slips of the brush, not objects


@dataclass(frozen=True, eq=False)
class Shot:
    """One annotated image plane.

    Attributes
    ----------
    plane : Plane
    labels : ndarray, int32, (H, W)
        The labels as painted.
    whole_image : bool
        Whether the whole image is annotated: then label 0 means background.
    """

    plane: Plane
    labels: Labels
    whole_image: bool = False

    @property
    def cells(self) -> Labels:
        """Labels of the cells alone, 0 elsewhere; int32, (H, W)."""
        first = 1 if self.whole_image else FIRST_CELL
        return np.where(self.labels >= first, self.labels, 0).astype(np.int32)

    @property
    def target(self) -> FloatImage:
        """1 for pixels painted as cell, else 0; float32, (H, W)."""
        return (self.cells > 0).astype(np.float32)

    @property
    def weight(self) -> FloatImage:
        """1 for annotated pixels, else 0; float32, (H, W)."""
        if self.whole_image:
            return np.ones(self.labels.shape, np.float32)
        return (self.labels > 0).astype(np.float32)

    @cached_property
    def painted_sizes(self) -> list[tuple[float, bool]]:
        """Size in pixels of each painted piece, and whether it is a stroke. A stroke's size is its length."""
        pieces = label(self.cells, connectivity=2)
        half_width = distance_transform_edt(pieces > 0)
        sizes = []
        for piece in _without_specks(regionprops(pieces)):
            length = float(piece.axis_major_length)
            thin = 2 * float(half_width[piece.slice][piece.image].max()) < length / 3
            sizes.append((length if thin else float(piece.equivalent_diameter_area), thin))
        return sizes

    @property
    def stroked(self) -> bool:
        """Whether most painted cells are annotated by a thin stroke and not painted in their shape."""
        if self.whole_image:
            return False
        return sum(thin for _, thin in self.painted_sizes) > len(self.painted_sizes) / 2


@dataclass(frozen=True, eq=False)
class SupportSet:
    """The annotated images of a target, 1 to 10 of them."""

    shots: tuple[Shot, ...]

    @property
    def k_shot(self) -> int:
        """Number of annotated images."""
        return len(self.shots)


def make_shot(plane: Plane, labels: ArrayLike, *, whole_image: bool = False) -> Shot:
    """Pair a plane with its painted labels.

    Parameters
    ----------
    plane : Plane
    labels : array_like of int, (H, W)
        0 not annotated, 1 background, 2 and more cells. With `whole_image`, 0 background, all else cells.
    whole_image : bool
        Whether every pixel is annotated.

    Raises
    ------
    AnnotationError
        The shape differs from the plane's, the dtype is not an integer one, or the labels lack cells,
        background or both.
    """
    painted = np.asarray(labels)
    if painted.shape != plane.shape:
        raise AnnotationError(
            f"The annotation of '{plane.name}' has shape {painted.shape}, the image {plane.shape}; "
            "make a new annotation layer for this image."
        )
    if painted.dtype.kind not in "bui":
        raise AnnotationError(
            f"The annotation of '{plane.name}' holds {painted.dtype}, not whole numbers; "
            "convert it to integers."
        )
    shot = Shot(plane, painted.astype(np.int32), whole_image)
    has_cells = bool(shot.target.any())
    has_background = bool(np.any(shot.weight > shot.target))
    if not has_cells and (whole_image or not has_background):
        raise AnnotationError(f"Nothing is annotated on '{plane.name}'; paint at least one cell.")
    if not has_cells:
        raise AnnotationError(f"Only background is annotated on '{plane.name}'; paint at least one cell.")
    if not has_background and not (whole_image and touching_cells(shot.cells).size):
        missing = "leave some background unpainted" if whole_image else "paint a stroke of background too"
        raise AnnotationError(f"Only cells are annotated on '{plane.name}'; {missing}.")
    return shot


def make_support_set(shots: Iterable[Shot]) -> SupportSet:
    """Collect 1 to 10 shots.

    Raises
    ------
    AnnotationError
        There is no shot, or there are more than 10.
    """
    collected = tuple(shots)
    if not collected:
        raise AnnotationError("No image is annotated; paint cells and background on at least one.")
    if len(collected) > MOST_SHOTS:
        raise AnnotationError(
            f"{len(collected)} images are annotated, but few-shot fine-tuning takes at most {MOST_SHOTS}; "
            "use fewer."
        )
    return SupportSet(collected)


def touching_share(support: SupportSet) -> float:
    """Share of the annotated cells that touch another one; 0 to 1."""
    n_touching = sum(touching_cells(shot.cells).size for shot in support.shots)
    n_cells = sum(np.count_nonzero(np.unique(shot.cells)) for shot in support.shots)
    return n_touching / max(n_cells, 1)


def median_diameter(support: SupportSet) -> float:
    """Median diameter of all painted objects in pixels.

    A fully painted object counts with the diameter of a disc of equal area. A thin stroke through a cell
    covers much less area than the cell, and therefore counts with its length.
    """
    diameters = [d for shot in support.shots for d in _diameters(shot)]
    return float(np.median(diameters))


def _diameters(shot: Shot) -> list[float]:
    if shot.whole_image:
        pieces = _without_specks(regionprops(label(shot.cells, connectivity=2)))
        return [float(piece.equivalent_diameter_area) for piece in pieces]
    return [diameter for diameter, _ in shot.painted_sizes]


def _without_specks(pieces: list[Any]) -> list[Any]:
    return [piece for piece in pieces if piece.area >= _SPECK_AREA] or pieces
