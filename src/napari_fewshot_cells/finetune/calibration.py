"""Which logit decides: calibrated on the shots, because L_BCE with a weight w moves it away from 0.

A net trained with w = (background / foreground) ** p on images whose annotated pixels have the ratio r puts
the odds of foreground r ** p too high. What is best for an image is then near the log of that image's own
ratio less what the annotation brought in, (1 − p) · log r.

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
from ..prediction.probability import logit_steps

TYPICAL_LOGIT = 2.0
"""log(background / foreground) of an image that cells cover to 12 %, the median of the five source sets."""

RIMS = 1.0
"""Paint that leaves out rims makes a network find them too unlikely, by this much."""

_CANDIDATES = np.linspace(-4, 8, 97)
_TOLERANCE = 0.3
"""IoU with the strokes that a threshold may lose: a net that can hardly tell cells has no share to go by."""

KNOWS_HARDLY = 0.7
"""IoU with the strokes of a network whose outlines have no say in the threshold."""

_ROUNDS, _CONVERGED = 100, 1e-6
_MOST_PIXELS = 100_000
_SHARES = (1e-4, 0.9)
"""Cells cover no less and no more of an image."""


def calibrated_threshold(
    logits: Sequence[FloatImage], samples: Sequence[Sample], balance: float = 1.0, unpainted: float = 0.0
) -> float:
    """The decision logit that K shots speak for, drawn towards the typical one, which counts as one more.

    Completely annotated shots speak for the logit that is best on them. A partly annotated one, whose strokes
    say little of how much cells cover and nothing of their outlines, for the logit that follows from how much
    of its whole image the network finds, see `share_threshold`, less what rims need, as far as the strokes
    agree; where a network that knew the cells told their outlines, for 0. What is best for one sparse shot
    may lie far above what is best for the other images.

    Parameters
    ----------
    logits : sequence of ndarray, float32, (H, W)
        Of each sample.
    samples : sequence of Sample
    balance : float
        Power of w in the network's training.
    unpainted : float
        Weight that `losses.doubtful_background` had in it at last.
    """
    whole = [i for i, sample in enumerate(samples) if sample.whole]
    spoken, typical = 0.0, 0.0
    if whole:
        best, _ = best_threshold([logits[i] for i in whole], [samples[i] for i in whole])
        spoken += len(whole) * best
        typical += len(whole) * balance * TYPICAL_LOGIT
    for i in set(range(len(samples))).difference(whole):
        expected = brought_in(samples[i], balance, unpainted)
        ious = _painted_ious([logits[i]], [samples[i]])
        least, most = _CANDIDATES[ious >= ious.max() - _TOLERANCE][[0, -1]]
        rims, unknown = (0.0, _unknown(samples[i])) if samples[i].outlined else (RIMS, 1.0)
        share = share_threshold(logits[i], expected)
        spoken += float(np.clip(unknown * (share - rims), least, most))
        typical += float(np.clip(unknown * (TYPICAL_LOGIT - expected - rims), least, most))
    return (spoken + typical / len(samples)) / (len(samples) + 1)


def _unknown(sample: Sample) -> float:
    """From 1 to 0, the better a network knew these cells: then their outlines are learnt as they are."""
    return float(np.clip((1 - sample.agreement) / (1 - KNOWS_HARDLY), 0, 1))


def share_threshold(logit: FloatImage, brought_in: float = 0.0) -> float:
    """The logit above which a pixel is rather cell than background, by the cells' share of the image itself.

    The share is found by expectation maximisation: with a share, each pixel's odds; from these, the share.

    Parameters
    ----------
    logit : ndarray, float32, (H, W)
        Of a whole image.
    brought_in : float
        log(background / foreground) that the network was trained to expect.
    """
    step = max(1, logit.size // _MOST_PIXELS)
    odds = logit.ravel()[::step].astype(np.float64) + brought_in
    threshold = TYPICAL_LOGIT
    for _ in range(_ROUNDS):
        share = np.clip(np.mean(1 / (1 + np.exp(threshold - odds))), *_SHARES)
        before, threshold = threshold, float(np.log((1 - share) / share))
        if abs(threshold - before) < _CONVERGED:
            break
    return threshold - brought_in


def best_threshold(logits: Sequence[FloatImage], samples: Sequence[Sample]) -> tuple[float, float]:
    """The logit above which the foreground agrees best with the annotation: highest mean IoU of the shots.

    A net trained with w = background / foreground in its loss puts sparse objects far above a probability of
    0.5 together with their surroundings; a handful of annotated images is enough to find that out.

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
    """IoU on the painted pixels with each candidate as threshold, mean over the shots."""
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


def brought_in(sample: Sample, balance: float, unpainted: float = 0.0) -> float:
    """log(background / foreground) that a network trained on these strokes has come to expect.

    Where it is in doubt, which is where a threshold decides, an unpainted pixel weighs half.

    Parameters
    ----------
    sample : Sample
        Annotated in part.
    balance, unpainted : float
        As in `calibrated_threshold`.
    """
    cell = max(float((sample.target * sample.weight).sum()), 1)
    background = max(float(((1 - sample.target) * sample.weight).sum()), 1)
    w = (background / cell) ** balance
    return float(np.log((background + unpainted / 2 * (cell + background)) / (w * cell)))


@dataclass(frozen=True, eq=False)
class Settled:
    """What prediction needs beside the weights.

    Attributes
    ----------
    decision_logit : float
        Above which a pixel is foreground.
    logits : tuple of ndarray, float32, (H, W)
        Of each sample, at the network's scale; none where nothing was calibrated.
    """

    decision_logit: float
    logits: tuple[FloatImage, ...] = ()


def settle(
    network: SegmentationNetwork,
    samples: Sequence[Sample],
    *,
    batch_norm: BatchNorm,
    calibrate: bool,
    balance: float = 1.0,
    unpainted: float = 0.0,
    quick: bool = True,
    device: str,
) -> Generator[Progress, None, Settled]:
    """Store the batch-norm statistics for prediction (in place) and find the decision logit under them.

    Parameters
    ----------
    network : SegmentationNetwork
        On `device`.
    samples : sequence of Sample
        The support set.
    batch_norm : {"support", "image", "running"}
        As in `recipe.Recipe`; with "running" the network keeps those that it has.
    calibrate : bool
        Choose the logit on the support set, see `calibrated_threshold`; else 0, a probability of 0.5.
    balance, unpainted : float
        Power of w, and last weight of what is unpainted, with which the network was trained.
    quick : bool
        Calibrate in bfloat16 where the processor multiplies it itself; see `precision`.

    Returns
    -------
    Settled
    """
    started = time.perf_counter()
    images = [torch.from_numpy(sample.image)[None, None].to(device) for sample in samples]
    logits: list[FloatImage] = []
    if batch_norm == "support":
        store_statistics(network, images)
    if calibrate:
        folded = fused(network)
        for sample, image in zip(samples, images, strict=True):
            yield Progress("calibrating", len(logits), len(samples), time.perf_counter() - started)
            if batch_norm == "image":
                store_statistics(network, [image])
                folded = fused(network)
            logits.append((yield from logit_steps(folded, sample.image, device=device, quick=quick)))
    if batch_norm == "image":  # prediction measures its own; those of a single shot are no good to anybody
        store_statistics(network, images)
    if not calibrate:
        return Settled(0.0)
    if batch_norm == "running":
        # After few steps running averages still remember 0 and 1, so that logits are not at their scale.
        best, _ = best_threshold(logits, samples)
        return Settled(best, tuple(logits))
    return Settled(calibrated_threshold(logits, samples, balance, unpainted), tuple(logits))
