"""What the shots teach of borders: the weights of `prediction.border_refinement`."""

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
"""Share of the painted background that is beside cells: where it is less, paint says nothing of borders."""

_MOST_PIXELS = 20_000  # of all images together

_RELIABLE = 0.8
"""IoU with complete masks of one image at which what they taught counts as much as the logit as it is."""


def fit_refinement(
    logits: Sequence[FloatImage], images: Sequence[FloatImage], targets: Sequence[FloatImage], seed: int = 0
) -> Refinement:
    """Learn from completely annotated images, drawn towards the logit as it is.

    An image counts the more against it, the more pixels its masks taught right for each that is still wrong:
    where grey values tell of a border they tell it nearly everywhere, and in other images, too.

    Parameters
    ----------
    logits : sequence of ndarray, float32, (H, W)
        At the images' resolution; above 0 is foreground.
    images : sequence of ndarray, float32, (H, W)
        Mixed and normalised, not rescaled.
    targets : sequence of ndarray, float32, (H, W)
        Foreground 0 or 1; both are there.
    seed : int
        Of the pixels that are drawn.
    """
    everywhere = [np.ones(target.shape, bool) for target in targets]
    learnt, agreement = _learn(logits, images, targets, everywhere, seed)
    return _drawn_to_the_logit(learnt, len(targets) * _odds(agreement) / _odds(_RELIABLE))


def fit_to_strokes(
    logits: Sequence[FloatImage],
    images: Sequence[FloatImage],
    targets: Sequence[FloatImage],
    painted: Sequence[NDArray[np.bool_]],
    seed: int = 0,
) -> Refinement:
    """Learn from the pixels that strokes touch; the logit as it is counts as much, however many they are.

    Where it decides is learnt, too: strokes beside cells know it better than the share of cells does.

    Parameters
    ----------
    logits, images, targets, seed
        As in `fit_refinement`; targets count where there is paint alone.
    painted : sequence of ndarray, bool, (H, W)
        Where there is paint, in cells and in background.
    """
    learnt, _ = _learn(logits, images, targets, painted, seed)
    return _drawn_to_the_logit(learnt, 1)


def tells_borders(sample: Sample) -> bool:
    """Whether strokes run through cells and beside them: then `fit_to_strokes` is worth it."""
    return sample.stroked and sample.background_near_cells >= _BESIDE


def _learn(
    logits: Sequence[FloatImage],
    images: Sequence[FloatImage],
    targets: Sequence[FloatImage],
    painted: Sequence[NDArray[np.bool_]],
    seed: int,
) -> tuple[Matrix, float]:
    """Bias and weights, and their IoU with the annotation that they were learnt from."""
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
    """Pixels right for each that is wrong, at most 100."""
    return agreement / max(1 - agreement, 1e-2)


def _drawn_to_the_logit(learnt: Matrix, weight: float) -> Refinement:
    as_it_is = np.r_[0.0, np.eye(len(learnt) - 1)[0]]  # the logit is the first feature
    return tuple(float(w) for w in (weight * learnt + as_it_is) / (weight + 1))


def _logistic_regression(x: Matrix, y: FloatImage) -> tuple[float, Matrix]:
    """Bias and weights; a penalty of half their square keeps what tells nothing at zero."""
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
