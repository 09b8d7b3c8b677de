"""How a plane is shown to the network: as one channel in which the annotated cells are bright.

In a stained section luma is a poor channel, since nuclei and what is around them differ in hue;
and whether cells are brighter or darker than their surroundings is a matter of the microscope. The annotation
tells both, by Fisher's linear discriminant.

References
----------
Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics, 1936.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..base.errors import ImageError
from .plane import LUMA, Plane
from .support_set import Shot, SupportSet

Mix = tuple[float, ...]
"""A weight for each channel; a single one, 1 or −1, for grey values."""

_SHRINKAGE = 0.01  # of the channels' correlations towards none
_MOST_PIXELS = 500_000  # of each class


def fisher_mix(support: SupportSet) -> Mix:
    """The mix of channels that tells cells from background best: w ∝ S⁻¹ (μ_cell − μ_background).

    S is the mean covariance within the two classes, over all annotated pixels of all shots. Channels are
    brought to unit spread and S is shrunk by 1 % to its diagonal, so that equal channels do no harm. In the
    mix cells are brighter than background on average.

    Parameters
    ----------
    support : SupportSet
        Shots whose channels are not as many in all of them are compared by their grey values.

    Returns
    -------
    tuple of float
        A weight for each channel, whose absolute values add up to 1, where all shots have as many; else one,
        1 or −1. Where no mean differs, the eye's luma, equal weights of other channels than three, or 1.
    """
    most = max(1, _MOST_PIXELS // support.k_shot)
    counts = {0 if shot.plane.colour is None else shot.plane.colour.shape[-1] for shot in support.shots}
    in_colour = len(counts) == 1 and counts != {0}
    pixels, is_cell = (
        np.concatenate(parts)
        for parts in zip(*(_annotated(shot, in_colour, most) for shot in support.shots), strict=True)
    )
    cell, background = pixels[is_cell], pixels[~is_cell]
    within = np.mean([np.cov(part, rowvar=False, ddof=0) for part in (cell, background)], axis=0)
    within = np.atleast_2d(within)
    spread = np.sqrt(np.diag(within))
    spread[spread == 0] = 1  # the same everywhere in both classes: its own unit will do
    correlation = within / np.outer(spread, spread) * (1 - _SHRINKAGE) + _SHRINKAGE * np.eye(len(spread))
    weights = np.linalg.solve(correlation, (cell.mean(axis=0) - background.mean(axis=0)) / spread) / spread
    total = np.abs(weights).sum()
    if total == 0:
        return LUMA if len(weights) == len(LUMA) else (1 / len(weights),) * len(weights)
    return tuple(float(weight) for weight in weights / total)


def mixed(plane: Plane, mix: Mix | None) -> Plane:
    """A plane whose grey values are a mix of its channels.

    Parameters
    ----------
    plane : Plane
    mix : tuple of float, optional
        A plane of other channels than those of the mix is not mixed, but still turned bright: its grey values
        are taken with the sign of the sum. Without a mix the plane stays as it is.

    Raises
    ------
    ImageError
        Nothing is to be seen in the mixed channel.
    """
    if mix is None:
        return plane
    if plane.colour is None or len(mix) == 1 or plane.colour.shape[-1] != len(mix):
        return plane if sum(mix) >= 0 else Plane(plane.name, -plane.pixels, plane.colour)
    pixels = plane.colour.astype(np.float32) @ np.array(mix, np.float32)
    if float(pixels.min()) == float(pixels.max()):
        raise ImageError(
            f"'{plane.name}' is constant in the colours that the model looks at: nothing to see. "
            "Annotate this image too, and fine-tune again."
        )
    return Plane(plane.name, pixels, plane.colour)


def _annotated(shot: Shot, in_colour: bool, most: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values of annotated pixels, (N, C), `most` of a class evenly chosen, and which of them are cells."""
    values = shot.plane.colour if in_colour else shot.plane.pixels[..., None]
    assert values is not None
    is_cell, weight = shot.target > 0, shot.weight > 0
    chosen = []
    for part in (is_cell & weight, ~is_cell & weight):
        where = np.flatnonzero(part)
        chosen.append(where[:: max(1, -(-len(where) // most))])
    index = np.concatenate(chosen)
    return values.reshape(-1, values.shape[-1])[index].astype(np.float64), is_cell.ravel()[index]
