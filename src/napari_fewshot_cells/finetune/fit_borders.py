"""Fit the weights of `prediction.border_refinement` to the shots: where exactly does a cell end?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from ..data.crops import Sample
from ..data.plane import FloatImage
from ..prediction.border_refinement import Matrix, Refinement, border_features
from ..prediction.metrics import iou

_BESIDE = 0.2
"""Share of the painted background that lies beside cells. If it is less, strokes do not show borders."""

_MOST_PIXELS = 20_000  # of all images together

_RELIABLE = 0.8
"""If the fit to one image's complete masks has this IoU with them, it counts as much as the prior."""


def fit_refinement(
    logits: Sequence[FloatImage], images: Sequence[FloatImage], targets: Sequence[FloatImage], seed: int = 0
) -> Refinement:
    """Fit to completely annotated images, shrunk towards a prior: the logit unchanged.

    Each image has weight odds(IoU) / 4, against weight 1 for the prior, where IoU is that of the fit with the
    masks. A fit that separates borders well on one image does so on others.

    Parameters
    ----------
    logits : sequence of ndarray, float32, (H, W)
        At the images' resolution; above 0 is foreground.
    images : sequence of ndarray, float32, (H, W)
        Mixed and normalised, not rescaled.
    targets : sequence of ndarray, float32, (H, W)
        1 in foreground, else 0; each image has both.
    seed : int
        Of the sample of pixels.
    """
    everywhere = [np.ones(target.shape, bool) for target in targets]
    learnt, agreement = _fit(logits, images, targets, everywhere, seed)
    return _shrink_to_prior(learnt, len(targets) * _odds(agreement) / _odds(_RELIABLE))


def fit_to_strokes(
    logits: Sequence[FloatImage],
    images: Sequence[FloatImage],
    targets: Sequence[FloatImage],
    painted: Sequence[NDArray[np.bool_]],
    seed: int = 0,
) -> Refinement:
    """Fit to the pixels that strokes touch; the fit has weight 1, and so has the prior (the logit unchanged).

    The fit moves the threshold, too: strokes beside cells determine it better than the share of cells does.

    Parameters
    ----------
    logits, images, targets, seed
        As in `fit_refinement`; targets count on painted pixels only.
    painted : sequence of ndarray, bool, (H, W)
        True on painted pixels, in cells and in background.
    """
    learnt, _ = _fit(logits, images, targets, painted, seed)
    return _shrink_to_prior(learnt, 1)


def strokes_show_borders(sample: Sample) -> bool:
    """Whether strokes run both through cells and beside them, as `fit_to_strokes` needs."""
    return sample.stroked and sample.background_near_cells >= _BESIDE


def _fit(
    logits: Sequence[FloatImage],
    images: Sequence[FloatImage],
    targets: Sequence[FloatImage],
    painted: Sequence[NDArray[np.bool_]],
    seed: int,
) -> tuple[Matrix, float]:
    """Bias and weights, and the IoU of their foreground with the annotation."""
    rng = np.random.default_rng(seed)
    columns, truth = [], []
    for logit, image, target, there in zip(logits, images, targets, painted, strict=True):
        places = np.flatnonzero(there)
        chosen = rng.choice(places, min(len(places), _MOST_PIXELS // len(targets)), replace=False)
        columns.append(
            np.stack([feature.ravel()[chosen] for feature in border_features(logit, image)], axis=1)
        )
        truth.append(target.ravel()[chosen])
    x, y = np.concatenate(columns).astype(np.float64), np.concatenate(truth)
    mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    bias, weights = _logistic_regression((x - mean) / spread, y)
    weights = weights / spread
    learnt: Matrix = np.r_[bias - mean @ weights, weights]
    return learnt, iou(x @ learnt[1:] + learnt[0] > 0, y)


def _odds(agreement: float) -> float:
    """IoU / (1 − IoU), at most 100."""
    return agreement / max(1 - agreement, 1e-2)


def _shrink_to_prior(learnt: Matrix, weight: float) -> Refinement:
    prior = np.r_[0.0, np.eye(len(learnt) - 1)[0]]  # the logit is the first feature
    return tuple(float(w) for w in (weight * learnt + prior) / (weight + 1))


def _logistic_regression(x: Matrix, y: FloatImage) -> tuple[float, Matrix]:
    """Bias and weights; a ridge penalty keeps the weights of uninformative features near zero."""
    inputs = np.column_stack([np.ones(len(x)), x])
    penalty = np.r_[0.0, np.full(x.shape[1], 1 / len(x))]

    def probability(w: Matrix) -> Matrix:
        p: Matrix = expit(inputs @ w)
        return p

    def loss(w: Matrix) -> float:
        z = inputs @ w
        return float(np.mean(np.logaddexp(0, z) - y * z) + penalty @ w**2 / 2)

    def gradient(w: Matrix) -> Matrix:
        g: Matrix = inputs.T @ (probability(w) - y) / len(x) + penalty * w
        return g

    def hessian(w: Matrix) -> Matrix:
        p = probability(w)
        h: Matrix = (inputs * (p * (1 - p) / len(x))[:, None]).T @ inputs + np.diag(penalty)
        return h

    fit = minimize(loss, np.zeros(len(penalty)), method="trust-exact", jac=gradient, hess=hessian)
    return float(fit.x[0]), fit.x[1:]
