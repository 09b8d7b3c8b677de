"""Correct cell borders at the image's full resolution, by logistic regression of the annotation.

The network sees all objects at one size, so that large objects are scaled down to few pixels; FCRN moreover
decodes from an eighth of that resolution. Borders are therefore coarse. The regression predicts foreground
from the network's logit, the grey values at and around the pixel, and their products. If grey values do not
improve on the logit, they get hardly any weight. The regression is fitted to fully annotated images, or to
strokes through and beside cells; strokes also set the decision threshold. See `finetune.fit_borders`.
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
"""Pixels. A refined pixel depends only on pixels within this distance."""


_SIGMAS = (0.0, 1.0, 2.0, 4.0)  # px; Gaussian smoothing of the grey values
_CERTAIN = 12.0  # larger logits carry no more information
_STRIP = 2**20  # pixels that are refined in one step


def refine_steps(
    logits: FloatImage, image: FloatImage, refinement: Refinement
) -> Generator[tuple[int, int], None, FloatImage]:
    """Apply a refinement strip by strip.

    Closing the generator cancels.

    Parameters
    ----------
    logits, image : ndarray, float32, (H, W)
        Logits at the image's resolution, above 0 for foreground; and the image, mixed and normalised, not
        rescaled.
    refinement : tuple of float

    Yields
    ------
    tuple of int
        Number of finished strips, and of all strips.

    Returns
    -------
    ndarray, float32, (H, W)
        The refined logits.
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
    """Yield the features one by one, because all maps of a large image would not fit into memory."""
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
