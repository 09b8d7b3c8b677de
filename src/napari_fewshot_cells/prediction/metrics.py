"""Scores of a segmentation: IoU of the foreground, as in the paper, and AP of the instances."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

IOU_EPSILON = 1e-4
"""Added to numerator and denominator, as in the authors' code, so that two empty masks agree."""


def iou(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Intersection over union of two foreground masks.

    Parameters
    ----------
    predicted, truth : array_like, (H, W)
        Everything above zero is foreground.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    a, b = np.asarray(predicted) > 0, np.asarray(truth) > 0
    _check_shapes(a, b)
    return float((np.sum(a & b) + IOU_EPSILON) / (np.sum(a | b) + IOU_EPSILON))


def average_precision(predicted: ArrayLike, truth: ArrayLike, threshold: float = 0.5) -> float:
    """Average precision of instances at one IoU threshold: TP / (TP + FP + FN).

    Instances are matched one to one, such that most pairs have an IoU of at least `threshold`, as in
    Caicedo et al., "Nucleus segmentation across imaging experiments", 2019.

    Parameters
    ----------
    predicted, truth : array_like of int, (H, W)
        Instance labels, 0 is background.
    threshold : float
        In (0, 1].

    Returns
    -------
    float
        1.0 if both are empty.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    a, b = np.asarray(predicted), np.asarray(truth)
    _check_shapes(a, b)
    overlap = _instance_iou(a, b)
    n_predicted, n_truth = overlap.shape
    if n_predicted + n_truth == 0:
        return 1.0
    good = overlap >= threshold
    rows, columns = linear_sum_assignment(-(good + overlap / (2 * max(overlap.shape) + 1)))
    true_positives: int = int(good[rows, columns].sum())
    return float(true_positives / (n_predicted + n_truth - true_positives))


def _instance_iou(a: NDArray[np.generic], b: NDArray[np.generic]) -> NDArray[np.float64]:
    """IoU of each predicted instance with each true one, (n_predicted, n_truth)."""
    a_labels, a_index = np.unique(a, return_inverse=True)
    b_labels, b_index = np.unique(b, return_inverse=True)
    shape = (len(a_labels), len(b_labels))
    counts = np.bincount(a_index.ravel() * shape[1] + b_index.ravel(), minlength=shape[0] * shape[1])
    intersection = counts.reshape(shape).astype(np.float64)
    union = intersection.sum(1, keepdims=True) + intersection.sum(0, keepdims=True) - intersection
    overlap = intersection / np.maximum(union, 1)
    instances: NDArray[np.float64] = overlap[a_labels != 0][:, b_labels != 0]
    return instances


def _check_shapes(a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} predicted, {b.shape} true")
