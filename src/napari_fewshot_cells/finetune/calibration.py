"""Calibrate the decision threshold, a logit, on the shots: the weight w in L_BCE moves it away from 0.

Let r be background / foreground of the annotated pixels, and w = r ** p. A network trained with it
overestimates the odds of foreground by r ** p. The best threshold for an image is then near log(background /
foreground) of that image, minus (1 − p) · log r, the ratio that the network learnt from the annotation.

References
----------
Saerens, Latinne, Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities", Neural
Computation, 2002.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.progress import Progress
from ..data.crops import Sample
from ..data.plane import FloatImage
from ..models.batch_norm import fused, store_statistics
from ..models.model import BatchNorm
from ..models.networks import SegmentationNetwork
from ..prediction.probability import output_steps

TYPICAL_LOGIT = 2.0
"""log(background / foreground) if cells cover 12 % of an image, the median of the five source sets."""

RIMS = 1.0
"""Logits. People seldom paint up to the rim, so the network underrates rims by about this much."""

_CANDIDATES = np.linspace(-4, 8, 97)  # thresholds, logits
_TOLERANCE = 0.3
"""IoU with the strokes that a threshold may lose against the best: limits the vote of a poor network."""

HARDLY_KNOWN_IOU = 0.7
"""IoU with the strokes. If the network reached no more before fine-tuning, the vote does not move to 0."""

_ROUNDS, _CONVERGED = 100, 1e-6
_MOST_PIXELS = 100_000
_SHARES = (1e-4, 0.9)
"""Least and largest share of an image that cells can cover."""


def calibrated_threshold(
    logits: Sequence[FloatImage], samples: Sequence[Sample], balance: float = 1.0, unpainted: float = 0.0
) -> float:
    """The decision logit: the mean of one vote for each shot and one for the typical logit.

    The prior vote is needed because the best logit of one sparse shot may lie far above that of other images.

    A completely annotated shot votes for the logit that is best on it. A partly annotated one votes for
    ``share_threshold(...) - RIMS``, clipped to the thresholds its strokes allow: strokes say little about how
    much cells cover, and nothing about their outlines. With pseudo-labels around its strokes, RIMS is left
    out, and if the network already knew these cells, the vote moves to 0.

    Parameters
    ----------
    logits : sequence of ndarray, float32, (H, W)
        Of each sample.
    samples : sequence of Sample
    balance : float
        Power of w in the network's training.
    unpainted : float
        Last weight of `losses.doubtful_background` in it.
    """
    whole = [i for i, sample in enumerate(samples) if sample.whole]
    spoken, typical = 0.0, 0.0
    if whole:
        best, _ = best_threshold([logits[i] for i in whole], [samples[i] for i in whole])
        spoken += len(whole) * best
        typical += len(whole) * balance * TYPICAL_LOGIT
    for i in set(range(len(samples))).difference(whole):
        expected = expected_log_ratio(samples[i], balance, unpainted)
        ious = _painted_ious([logits[i]], [samples[i]])
        least, most = _CANDIDATES[ious >= ious.max() - _TOLERANCE][[0, -1]]
        rims, unknown = (0.0, _unfamiliarity(samples[i])) if samples[i].outlined else (RIMS, 1.0)
        share = share_threshold(logits[i], expected)
        spoken += float(np.clip(unknown * (share - rims), least, most))
        typical += float(np.clip(unknown * (TYPICAL_LOGIT - expected - rims), least, most))
    return (spoken + typical / len(samples)) / (len(samples) + 1)


def _unfamiliarity(sample: Sample) -> float:
    """1 if the network hardly knew these cells before fine-tuning, 0 if it knew them perfectly."""
    return float(np.clip((1 - sample.agreement) / (1 - HARDLY_KNOWN_IOU), 0, 1))


def share_threshold(logit: FloatImage, expected: float = 0.0) -> float:
    """The logit above which a pixel is more likely cell than background, given the cells' share of the image.

    Expectation maximisation finds the share: the share gives each pixel's odds, and these give the share.

    Parameters
    ----------
    logit : ndarray, float32, (H, W)
        Of a whole image.
    expected : float
        log(background / foreground) that the network was trained to expect; see `expected_log_ratio`.
    """
    step = max(1, logit.size // _MOST_PIXELS)
    odds = logit.ravel()[::step].astype(np.float64) + expected
    threshold = TYPICAL_LOGIT
    for _ in range(_ROUNDS):
        share = np.clip(np.mean(1 / (1 + np.exp(threshold - odds))), *_SHARES)
        before, threshold = threshold, float(np.log((1 - share) / share))
        if abs(threshold - before) < _CONVERGED:
            break
    return threshold - expected


def best_threshold(logits: Sequence[FloatImage], samples: Sequence[Sample]) -> tuple[float, float]:
    """The threshold with the highest mean IoU with the annotation over the shots, and that IoU.

    A network trained with w = background / foreground in its loss gives sparse objects, and their
    surroundings, a probability far above 0.5. A few annotated images suffice to correct that.

    Parameters
    ----------
    logits : sequence of ndarray, float32, (H, W)
        Of each sample.
    samples : sequence of Sample
        Only annotated pixels count.

    Returns
    -------
    threshold, iou : float
    """
    mean = _painted_ious(logits, samples)
    plateau = np.flatnonzero(mean >= mean.max() - 1e-3)
    middle = plateau[len(plateau) // 2]
    return float(_CANDIDATES[middle]), float(mean[middle])


def _painted_ious(logits: Sequence[FloatImage], samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Mean IoU over the shots, on painted pixels, at each candidate threshold."""
    ious = []
    for logit, sample in zip(logits, samples, strict=True):
        cell = sample.target[sample.painted] > 0
        values = logit[sample.painted]
        hits, false_alarms = (
            len(part) - np.searchsorted(np.sort(part), _CANDIDATES, side="right")
            for part in (values[cell], values[~cell])
        )
        ious.append(hits / np.maximum(cell.sum() + false_alarms, 1))
    mean: NDArray[np.float64] = np.mean(ious, axis=0)
    return mean


def expected_log_ratio(sample: Sample, balance: float, unpainted: float = 0.0) -> float:
    """log(background / foreground) that a network learns to expect from a shot's strokes.

    An unpainted pixel counts half: its weight if the network is in doubt, as it is near a threshold.

    Parameters
    ----------
    sample : Sample
        A partly annotated one.
    balance, unpainted : float
        As in `calibrated_threshold`.
    """
    cell = max(float((sample.target * sample.weight).sum()), 1)
    background = max(float(((1 - sample.target) * sample.weight).sum()), 1)
    w = (background / cell) ** balance
    return float(np.log((background + unpainted / 2 * (cell + background)) / (w * cell)))


@dataclass(frozen=True, eq=False)
class Calibration:
    """What prediction needs in addition to the weights.

    Attributes
    ----------
    decision_logit : float
        A pixel with a higher logit is foreground.
    logits : tuple of ndarray, float32, (H, W)
        Of each sample, at the network's scale; empty if nothing was calibrated.
    contacts : tuple of ndarray, float32, (H, W)
        The logits of contact; empty if they were not asked for.
    """

    decision_logit: float
    logits: tuple[FloatImage, ...] = ()
    contacts: tuple[FloatImage, ...] = ()


def calibration_steps(
    network: SegmentationNetwork,
    samples: Sequence[Sample],
    *,
    batch_norm: BatchNorm,
    calibrate: bool,
    balance: float = 1.0,
    unpainted: float = 0.0,
    contacts: bool = False,
    quick: bool = True,
    device: str,
) -> Generator[Progress, None, Calibration]:
    """Store batch-norm statistics for prediction in the network, in place, then find the decision logit.

    Parameters
    ----------
    network : SegmentationNetwork
        On `device`.
    samples : sequence of Sample
        The support set.
    batch_norm : {"support", "image", "running"}
        As in `recipe.Recipe`; with "running" the network keeps its statistics.
    calibrate : bool
        Choose the logit on the support set (`calibrated_threshold`); else it is 0, a probability of 0.5.
    balance, unpainted : float
        Power of w, and last weight of unpainted pixels, in the network's training.
    contacts : bool
        Compute the logits of contact, too.
    quick : bool
        Calibrate in bfloat16 if the processor multiplies it natively; see `base.bfloat16`.

    Returns
    -------
    Calibration
    """
    started = time.perf_counter()
    images = [torch.from_numpy(sample.image)[None, None].to(device) for sample in samples]
    logits: list[FloatImage] = []
    touching: list[FloatImage] = []
    if batch_norm == "support":
        store_statistics(network, images)
    if calibrate:
        folded = fused(network)
        for sample, image in zip(samples, images, strict=True):
            yield Progress("calibrating", len(logits), len(samples), time.perf_counter() - started)
            if batch_norm == "image":
                store_statistics(network, [image])
                folded = fused(network)
            steps = output_steps(folded, sample.image, contacts=contacts, device=device, quick=quick)
            foreground, *further = yield from steps
            logits.append(foreground)
            touching += further
    if batch_norm == "image":  # not those of the last shot; prediction measures each image anew
        store_statistics(network, images)
    if not calibrate:
        return Calibration(0.0)
    if batch_norm == "running":
        # After a few steps running averages still contain their initial 0 and 1: logits are off scale.
        best, _ = best_threshold(logits, samples)
        return Calibration(best, tuple(logits), tuple(touching))
    threshold = calibrated_threshold(logits, samples, balance, unpainted)
    return Calibration(threshold, tuple(logits), tuple(touching))
