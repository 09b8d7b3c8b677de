"""After the last step: the statistics and the threshold that prediction uses."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ..base.progress import Progress
from ..data.crops import Sample
from ..data.plane import FloatImage
from ..models.networks import SegmentationNetwork, fused, store_statistics
from ..prediction.probability import logit_steps
from .calibration import best_threshold, calibrated_threshold

BatchNorm = Literal["support", "image", "running"]
"""Whose statistics prediction uses; see `recipe.Recipe`."""


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
