"""Pseudo-labels around strokes, taken from the network before fine-tuning.

Strokes do not show where a cell ends. Trained on them alone, a network learns that a cell is its middle, and
loses the rims, more with each step. Its own prediction around the strokes, made before the first step,
therefore counts as annotation of small weight.

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
from .calibration import HARDLY_KNOWN_IOU, best_threshold

OUTLINE_WEIGHT = 0.2
"""Of a pseudo-label; a painted pixel has weight 1."""

OUTLINE_REACH = 12.0
"""Pixels at the network's scale; less than half a cell, because strokes run through the middle."""

_TRUSTED_IOU = 0.6
"""Least IoU with the strokes. Random weights reach 0.35 to 0.59, because half of the strokes are cell."""


def outline_steps(
    network: SegmentationNetwork, samples: Sequence[Sample], *, limit: float = 1.0, device: str = "cpu"
) -> Generator[Progress, None, list[Sample]]:
    """Add pseudo-labels to the samples whose cells are annotated by strokes.

    Parameters
    ----------
    network : SegmentationNetwork
        On `device`, before this fine-tuning. It is not changed.
    samples : sequence of Sample
        The support set.
    limit : float
        Upper limit of `Sample.agreement`; see `agreement_limit`.

    Yields
    ------
    Progress

    Returns
    -------
    list of Sample
        A sample is unchanged if its cells are painted in their shape, or if the network does not agree with
        the strokes.
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
        added = sample.near_cells(OUTLINE_REACH) & (sample.weight == 0)
        target = np.where(added, logit > threshold, sample.target).astype(np.float32)
        weight = np.where(added, np.float32(OUTLINE_WEIGHT), sample.weight)
        result[i] = replace(sample, target=target, weight=weight, agreement=min(agreement, limit))
    return result


def agreement_limit(card: ModelCard) -> float:
    """Upper limit of a model's agreement with strokes: 1 if it was never fine-tuned.

    A model trained on these strokes agrees with them, whatever it knew before. Its limit is therefore the
    agreement at its first fine-tuning.
    """
    if not card.k_shot:
        return 1.0
    return float(card.hyper_parameters.get("agreement") or HARDLY_KNOWN_IOU)
