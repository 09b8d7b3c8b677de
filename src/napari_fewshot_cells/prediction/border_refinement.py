"""A last look at full resolution: where exactly a cell ends.

The network sees all objects at one size, large ones therefore in few pixels, and FCRN decodes from an eighth
of that. Whether grey values at and around a pixel tell more of a border, the annotation says: logistic
regression of completely annotated masks on the network's logit, the grey values, and both together. Where
these tell nothing, hardly anything but the logit gets a weight. Strokes, in cells and beside them, say it
too, and beside it which logit decides.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

from ..data.plane import FloatImage

Matrix = NDArray[np.float64]

Refinement = tuple[float, ...]
"""Bias, then the weight of each feature."""


HALO = 17
"""A pixel depends on no other further away than this."""


_SIGMAS = (0.0, 1.0, 2.0, 4.0)  # px, of the grey values
_CERTAIN = 12.0  # a logit beyond it tells nothing more
_STRIP = 2**20  # pixels that are refined at a time


def refine_steps(
    logits: FloatImage, image: FloatImage, refinement: Refinement
) -> Generator[tuple[int, int], None, FloatImage]:
    """Apply it, strip by strip: yields how many strips of how many are done. Closing it cancels.

    Parameters
    ----------
    logits, image : ndarray, float32, (H, W)
        As in `fit_refinement`.
    refinement : tuple of float

    Returns
    -------
    ndarray, float32, (H, W)
    """
    bias, *weights = refinement
    refined = np.empty_like(logits)
    rows = max(1, _STRIP // max(1, logits.shape[1]))
    starts = range(0, logits.shape[0], rows)
    for done, row in enumerate(starts):
        yield done, len(starts)
        first = max(0, row - HALO)
        outer, inner = slice(first, row + rows + HALO), slice(row - first, row - first + rows)
        total = np.full_like(logits[outer], bias)
        for weight, feature in zip(weights, border_features(logits[outer], image[outer]), strict=True):
            total += np.float32(weight) * feature
        refined[row : row + rows] = total[inner]
    return refined


def border_features(logit: FloatImage, image: FloatImage) -> Iterator[FloatImage]:
    """One map after the other: a large image has no room for all of them."""
    logit = logit.clip(-_CERTAIN, _CERTAIN)
    cell = np.tanh(logit / 4)
    yield logit
    yield gaussian_filter(logit, 2.0)
    yield cell
    for sigma in _SIGMAS:
        grey = gaussian_filter(image, sigma) if sigma else image
        yield grey
        yield cell * grey
    yield gaussian_gradient_magnitude(image, 1.5)
