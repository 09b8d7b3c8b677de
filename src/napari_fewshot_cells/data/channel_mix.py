"""Mix a plane's channels into one in which annotated cells are bright: the channel that the network sees.

In stained sections luma is a poor channel, because nuclei and their surroundings differ in hue. Whether cells
are brighter or darker than their surroundings depends on the microscope. Fisher's linear discriminant of the
annotated pixels settles both.

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
"""One weight per channel; a single weight, 1 or −1, for grey values."""

_SHRINKAGE = 0.01  # of the correlations between channels, towards 0
_MOST_PIXELS = 500_000  # per class, in all shots together


def fisher_mix(support: SupportSet) -> Mix:
    """The channel mix that separates cells from background best: w ∝ S⁻¹ (μ_cell − μ_background).

    S is the mean of the two classes' covariances, over the annotated pixels of all shots. Channels are scaled
    to unit spread, and S is shrunk by 1 % towards its diagonal, so that equal channels do not make it
    singular. In the mix, cells are brighter than background on average.

    Parameters
    ----------
    support : SupportSet
        If its shots differ in their number of channels, their grey values are used.

    Returns
    -------
    tuple of float
        One weight per channel; the absolute values add up to 1. A single weight, 1 or −1, for grey values.
        If the two classes have equal means, or no background is annotated: luma for three channels,
        otherwise equal weights.
    """
    most = max(1, _MOST_PIXELS // support.k_shot)
    counts = {0 if shot.plane.colour is None else shot.plane.colour.shape[-1] for shot in support.shots}
    in_colour = len(counts) == 1 and counts != {0}
    pixels, is_cell = (
        np.concatenate(parts)
        for parts in zip(*(_annotated(shot, in_colour, most) for shot in support.shots), strict=True)
    )
    cell, background = pixels[is_cell], pixels[~is_cell]
    if not len(background):  # tissue in which every pixel belongs to a cell
        return _plain_mix(pixels.shape[1])
    within = np.mean([np.cov(part, rowvar=False, ddof=0) for part in (cell, background)], axis=0)
    within = np.atleast_2d(within)
    spread = np.sqrt(np.diag(within))
    spread[spread == 0] = 1  # constant within both classes: keep its scale
    correlation = within / np.outer(spread, spread) * (1 - _SHRINKAGE) + _SHRINKAGE * np.eye(len(spread))
    weights = np.linalg.solve(correlation, (cell.mean(axis=0) - background.mean(axis=0)) / spread) / spread
    total = np.abs(weights).sum()
    if total == 0:
        return _plain_mix(len(weights))
    return tuple(float(weight) for weight in weights / total)


def _plain_mix(n_channels: int) -> Mix:
    return LUMA if n_channels == len(LUMA) else (1 / n_channels,) * n_channels


def mix_channels(plane: Plane, mix: Mix | None) -> Plane:
    """Replace a plane's grey values by a mix of its channels.

    Parameters
    ----------
    plane : Plane
    mix : tuple of float, optional
        If its weights do not match the plane's channels, the grey values are kept, and inverted if the
        weights add up to less than 0. Without a mix, the plane is returned unchanged.

    Raises
    ------
    ImageError
        The mixed channel is constant.
    """
    if mix is None:
        return plane
    if plane.colour is None or len(mix) == 1 or plane.colour.shape[-1] != len(mix):
        return plane if sum(mix) >= 0 else Plane(plane.name, -plane.pixels, plane.colour)
    pixels = plane.colour.astype(np.float32) @ np.array(mix, np.float32)
    if float(pixels.min()) == float(pixels.max()):
        raise ImageError(
            f"'{plane.name}' is constant in the model's mix of channels; "
            "annotate this image too, and fine-tune again."
        )
    return Plane(plane.name, pixels, plane.colour)


def _annotated(shot: Shot, in_colour: bool, most: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values of evenly chosen annotated pixels, (N, C), at most `most` per class, and which are cells."""
    values = shot.plane.colour if in_colour else shot.plane.pixels[..., None]
    assert values is not None
    is_cell, weight = shot.target > 0, shot.weight > 0
    chosen = []
    for part in (is_cell & weight, ~is_cell & weight):
        where = np.flatnonzero(part)
        chosen.append(where[:: max(1, -(-len(where) // most))])
    index = np.concatenate(chosen)
    return values.reshape(-1, values.shape[-1])[index].astype(np.float64), is_cell.ravel()[index]
