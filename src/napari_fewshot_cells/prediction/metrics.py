"""Scores of a segmentation: foreground IoU, as in the paper, and how well objects are separated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from ..data.contacts import touching_cells

IOU_EPSILON = 1e-4
"""Added to numerator and denominator, as in the authors' code, so that two empty masks agree."""

AP_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
"""IoU thresholds of the mean AP: 0.5, 0.55, …, 0.95."""

SCORES = (
    "iou",
    "ap50",
    "ap75",
    "mean_ap",
    "pq",
    "sq",
    "rq",
    "f1",
    "recall_touching",
    "recall_isolated",
    "n_predicted",
    "n_truth",
    "n_touching",
    "count_error",
)
"""Names of the numbers that an `InstanceScore` gives, in the order of `InstanceScore.numbers`."""


@dataclass(frozen=True)
class InstanceScore:
    """Scores of one image, or of several images pooled.

    The attributes are counts, so that the scores of several images follow from their sums. A pair is a
    predicted and a true object. Each object is in at most one matched pair.

    Attributes
    ----------
    intersection, union : int
        Of the two foregrounds, in pixels.
    n_predicted, n_truth : int
        Number of objects.
    n_touching : int
        True objects that touch: another true object is in the 8-neighbourhood of their pixels.
    n_touching_found : int
        Touching true objects in a matched pair.
    matched : tuple of float
        IoU of each matched pair, at least 0.5.
    """

    intersection: int
    union: int
    n_predicted: int
    n_truth: int
    n_touching: int
    n_touching_found: int
    matched: tuple[float, ...]

    @property
    def iou(self) -> float:
        """IoU of the foreground, as of `iou`."""
        return (self.intersection + IOU_EPSILON) / (self.union + IOU_EPSILON)

    @property
    def ap50(self) -> float:
        """Average precision at IoU 0.5: TP / (TP + FP + FN); 1 if there are no objects."""
        return self._average_precision(0.5)

    @property
    def ap75(self) -> float:
        """Average precision at IoU 0.75."""
        return self._average_precision(0.75)

    @property
    def mean_ap(self) -> float:
        """Mean of the average precision over `AP_THRESHOLDS`."""
        return fmean(self._average_precision(threshold) for threshold in AP_THRESHOLDS)

    @property
    def pq(self) -> float:
        """Panoptic quality (Kirillov et al., "Panoptic segmentation", 2019); 1 if there are no objects.

        Sum of the IoU of the pairs with an IoU above 0.5, over TP + FP / 2 + FN / 2.
        """
        objects = self.n_predicted + self.n_truth
        return 2 * sum(self._above_half()) / objects if objects else 1.0

    @property
    def sq(self) -> float | None:
        """Segmentation quality: mean IoU of the pairs with an IoU above 0.5; None without such pairs."""
        pairs = self._above_half()
        return fmean(pairs) if pairs else None

    @property
    def rq(self) -> float:
        """Recognition quality: the F1 of pairs with an IoU above 0.5, so that PQ = SQ · RQ."""
        objects = self.n_predicted + self.n_truth
        return 2 * len(self._above_half()) / objects if objects else 1.0

    @property
    def f1(self) -> float:
        """F1 at IoU 0.5: TP / (TP + FP / 2 + FN / 2); 1 if there are no objects.

        Unlike RQ it counts pairs with an IoU of exactly 0.5, as the average precision does.
        """
        objects = self.n_predicted + self.n_truth
        return 2 * len(self.matched) / objects if objects else 1.0

    @property
    def recall_touching(self) -> float | None:
        """Share of the touching true objects that are matched at IoU 0.5; None if there are none."""
        return self.n_touching_found / self.n_touching if self.n_touching else None

    @property
    def recall_isolated(self) -> float | None:
        """Share of the other true objects that are matched at IoU 0.5; None if there are none."""
        isolated = self.n_truth - self.n_touching
        return (len(self.matched) - self.n_touching_found) / isolated if isolated else None

    @property
    def count_error(self) -> int:
        """Absolute difference between the numbers of predicted and true objects."""
        return abs(self.n_predicted - self.n_truth)

    def numbers(self) -> dict[str, float | None]:
        """Every score by its name, as in `SCORES`."""
        return {name: getattr(self, name) for name in SCORES}

    def _average_precision(self, threshold: float) -> float:
        """At a threshold of at least 0.5."""
        true_positives = sum(overlap >= threshold for overlap in self.matched)
        found_or_missed = self.n_predicted + self.n_truth - true_positives
        return true_positives / found_or_missed if found_or_missed else 1.0

    def _above_half(self) -> list[float]:
        return [overlap for overlap in self.matched if overlap > 0.5]


def score(predicted: ArrayLike, truth: ArrayLike) -> InstanceScore:
    """Compare the objects of two label images.

    Objects are matched one to one at an IoU of at least 0.5. An object has two such partners only if they
    are its two halves, each with an IoU of exactly 0.5: the half with the lower number is matched.

    Parameters
    ----------
    predicted, truth : array_like of int, (H, W)
        0 is background; every other value is one object, also in several pieces.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    a, b = np.asarray(predicted), np.asarray(truth)
    _check_shapes(a, b)
    overlaps = _instance_iou(a, b)
    good = overlaps.iou >= 0.5
    rows, columns, values = overlaps.predicted[good], overlaps.truth[good], overlaps.iou[good]
    keep = _first_of_each(rows) & _first_of_each(columns)
    touching = np.isin(overlaps.truth_labels, touching_cells(b))
    return InstanceScore(
        intersection=overlaps.intersection,
        union=overlaps.union,
        n_predicted=len(overlaps.predicted_labels),
        n_truth=len(overlaps.truth_labels),
        n_touching=int(touching.sum()),
        n_touching_found=int(touching[columns[keep]].sum()),
        matched=tuple(values[keep].tolist()),
    )


def pooled(scores: Sequence[InstanceScore]) -> InstanceScore:
    """Scores of several images as if they were one: each object has the same weight.

    `InstanceScore.count_error` of the result is that of the total numbers: errors of opposite sign cancel.
    """
    return InstanceScore(
        intersection=sum(s.intersection for s in scores),
        union=sum(s.union for s in scores),
        n_predicted=sum(s.n_predicted for s in scores),
        n_truth=sum(s.n_truth for s in scores),
        n_touching=sum(s.n_touching for s in scores),
        n_touching_found=sum(s.n_touching_found for s in scores),
        matched=tuple(chain.from_iterable(s.matched for s in scores)),
    )


def averaged(scores: Sequence[InstanceScore]) -> dict[str, float | None]:
    """Mean of every score over the images: each image has the same weight.

    An image without a score, such as the recall of touching objects if none touch, is left out of that mean.
    It is None if no image has the score.
    """
    means: dict[str, float | None] = {}
    for name in SCORES:
        values = [value for s in scores if (value := getattr(s, name)) is not None]
        means[name] = fmean(values) if values else None
    return means


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
    overlaps = _instance_iou(a, b)
    n_predicted, n_truth = len(overlaps.predicted_labels), len(overlaps.truth_labels)
    if n_predicted + n_truth == 0:
        return 1.0
    good = overlaps.iou >= threshold
    true_positives = 0
    if good.any():
        edges = overlaps.predicted[good].astype(np.int32), overlaps.truth[good].astype(np.int32)
        graph = csr_matrix((np.ones(len(edges[0]), bool), edges), shape=(n_predicted, n_truth))
        true_positives = int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
    return true_positives / (n_predicted + n_truth - true_positives)


@dataclass(frozen=True)
class _Overlaps:
    """Pairs of a predicted and a true instance that overlap, by predicted, then by true label number."""

    predicted_labels: NDArray[np.generic]  # (n_predicted,), ascending
    truth_labels: NDArray[np.generic]  # (n_truth,), ascending
    predicted: NDArray[np.intp]  # (n_pairs,), indices into predicted_labels
    truth: NDArray[np.intp]  # (n_pairs,), indices into truth_labels
    iou: NDArray[np.float64]  # (n_pairs,)
    intersection: int  # of the foregrounds, in pixels
    union: int


def _instance_iou(a: NDArray[np.generic], b: NDArray[np.generic]) -> _Overlaps:
    """IoU of each predicted instance with each true one that it overlaps.

    Counting runs of equal pixels, not pixels, saves sorting the image: runs are 10 times fewer or more.
    """
    a, b = a.ravel(), b.ravel()
    first = np.ones(a.shape, bool)
    first[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    starts = np.flatnonzero(first)
    lengths = np.diff(starts, append=a.size)
    a_labels, a_index = np.unique(a[starts], return_inverse=True)
    b_labels, b_index = np.unique(b[starts], return_inverse=True)
    codes, run_pair = np.unique(a_index * len(b_labels) + b_index, return_inverse=True)
    intersection = np.bincount(run_pair, lengths, len(codes))
    a_size = np.bincount(a_index, lengths, len(a_labels))
    b_size = np.bincount(b_index, lengths, len(b_labels))
    rows, columns = np.divmod(codes, max(len(b_labels), 1))
    a_is_object, b_is_object = a_labels != 0, b_labels != 0
    objects = a_is_object[rows] & b_is_object[columns]
    rows, columns, intersection = rows[objects], columns[objects], intersection[objects]
    common = int(intersection.sum())
    return _Overlaps(
        predicted_labels=a_labels[a_is_object],
        truth_labels=b_labels[b_is_object],
        predicted=(np.cumsum(a_is_object) - 1)[rows],
        truth=(np.cumsum(b_is_object) - 1)[columns],
        iou=intersection / (a_size[rows] + b_size[columns] - intersection),
        intersection=common,
        union=int(a_size[a_is_object].sum() + b_size[b_is_object].sum()) - common,
    )


def _first_of_each(values: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether each value is there for the first time."""
    first = np.zeros(values.shape, bool)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def _check_shapes(a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} predicted, {b.shape} true")
