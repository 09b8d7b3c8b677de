"""Where a stroked cell ends: strokes do not say, but the network knew cells before it was fine-tuned.

What it finds around the strokes before the first step counts as annotation of little weight. Otherwise
strokes teach a network that a cell is what lies in its middle: rims are lost, the more the longer it learns.

References
----------
Li, Hoiem, "Learning without forgetting", IEEE TPAMI 40, 2935 (2018).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..base.bfloat16 import quick_passes
from ..base.progress import Progress
from ..data.crops import Sample
from ..data.plane import FloatImage
from ..models.batch_norm import fused, store_statistics
from ..models.model import ModelCard
from ..models.networks import SegmentationNetwork
from ..prediction.probability import logit_steps
from .calibration import KNOWS_HARDLY, best_threshold

OUTLINE_WEIGHT = 0.2
"""Of a pixel that the network tells, against one that a person painted."""

OUTLINE_REACH = 12.0
"""Pixels at the network's scale, less than half a cell: strokes run through the middle."""

_TRUSTED_IOU = 0.6
"""With the strokes themselves. Random weights reach 0.35 to 0.59: half of what is stroked is cell."""


def outline_steps(
    network: SegmentationNetwork, samples: Sequence[Sample], *, most: float = 1.0, device: str = "cpu"
) -> Generator[Progress, None, list[Sample]]:
    """Add to samples whose cells are stroked what a network finds around the strokes.

    Parameters
    ----------
    network : SegmentationNetwork
        On `device`, as it is before this fine-tuning; stays untouched.
    samples : sequence of Sample
        The support set.
    most : float
        Agreement that counts at most; see `most_agreement`.

    Yields
    ------
    Progress

    Returns
    -------
    list of Sample
        The same where cells are painted in their shape, or where the network does not agree with the strokes.
    """
    stroked = [i for i, sample in enumerate(samples) if sample.stroked]
    result = list(samples)
    if not stroked:
        return result
    started = time.perf_counter()
    network = copy.deepcopy(network)
    images = [torch.from_numpy(sample.image)[None, None].to(device) for sample in samples]
    with quick_passes(device):
        store_statistics(network, images)
    network = fused(network)
    logits: list[FloatImage] = []
    for i in stroked:
        yield Progress("outlining", len(logits), len(stroked), time.perf_counter() - started)
        logits.append((yield from logit_steps(network, samples[i].image, device=device, quick=True)))
    shots = [samples[i] for i in stroked]
    threshold, agreement = best_threshold(logits, shots)
    if agreement < _TRUSTED_IOU:
        return result
    for i, logit in zip(stroked, logits, strict=True):
        sample = samples[i]
        told = sample.near_cells(OUTLINE_REACH) & (sample.weight == 0)
        target = np.where(told, logit > threshold, sample.target).astype(np.float32)
        weight = np.where(told, np.float32(OUTLINE_WEIGHT), sample.weight)
        result[i] = replace(sample, target=target, weight=weight, agreement=min(agreement, most))
    return result


def most_agreement(card: ModelCard) -> float:
    """What a model's agreement with strokes may count: taught by them, it agrees whatever it knew before.

    A model that was fine-tuned counts with what it had when it was fine-tuned first.
    """
    if not card.k_shot:
        return 1.0
    return float(card.hyper_parameters.get("agreement") or KNOWS_HARDLY)
