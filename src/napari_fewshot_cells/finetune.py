"""Few-shot adaptation: a meta-trained model and a support set become a model of the target."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import numpy as np
import torch

from .annotations import SupportSet, median_diameter
from .crops import Sample, sample_crops, to_sample
from .errors import AnnotationError
from .images import FloatImage
from .losses import weighted_bce
from .models import Model
from .networks import SegmentationNetwork, store_statistics
from .prediction import logit_steps
from .progress import Progress

SMALLEST_FACTOR, LARGEST_FACTOR = 0.125, 4.0
"""Images are never fed smaller or larger than this, whatever the annotation says about object size."""


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune. The defaults are the button's.

    Attributes
    ----------
    steps : int
        Adam steps.
    crops, crop_size : int
        Crops of `crop_size` × `crop_size` px in each step.
    lr, weight_decay : float
        Of Adam; the learning rate falls to zero along half a cosine.
    rescale : bool
        Feed images so that the annotated objects have the canonical diameter; else at native scale.
    calibrate : bool
        Choose the decision threshold that is best on the shots; else 0.5, as in the paper.
    batch_norm : {"support", "image"}
        Statistics used in prediction: the support set's or each image's own.
    """

    steps: int = 30
    crops: int = 8
    crop_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 5e-4
    rescale: bool = True
    calibrate: bool = True
    batch_norm: str = "support"


def fine_tune(
    model: Model,
    support: SupportSet,
    *,
    recipe: Recipe | None = None,
    seconds: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    diameter: float | None = None,
) -> Generator[Progress, None, Model]:
    """Adapt a model to the annotated images with L_BCE (Eq. 3).

    Parameters
    ----------
    model : Model
        Stays untouched.
    support : SupportSet
    recipe : Recipe, optional
    seconds : float, optional
        Stop the steps after this time, even if some of the recipe's are left.
    seed : int
        Of the crops; the same seed on the same machine gives the same weights.
    device : str
        "cpu", "cuda" or "mps".
    diameter : float, optional
        Object diameter in pixels; by default taken from the annotation.

    Yields
    ------
    Progress
        After each step. Closing the generator cancels.

    Returns
    -------
    Model
        On the CPU. Its card knows object diameter, threshold, shots and parent.

    Raises
    ------
    AnnotationError
        The annotation vanishes at the network's scale: too thin, or the diameter is wrong.
    """
    recipe = recipe or Recipe()
    started = time.perf_counter()
    diameter = _diameter(model, support, recipe, diameter)
    samples = [to_sample(shot, model.card.canonical_diameter / diameter) for shot in support.shots]
    _check_samples(samples, support)
    network = copy.deepcopy(model.network).to(device)
    done = yield from _train(network, samples, recipe, seconds, np.random.default_rng(seed), device, started)
    store_statistics(network, [torch.from_numpy(s.image)[None, None].to(device) for s in samples])
    decision_logit = 0.0
    if recipe.calibrate:
        logits: list[FloatImage] = []
        for sample in samples:
            yield Progress("calibrating", len(logits), len(samples), time.perf_counter() - started)
            logits.append((yield from logit_steps(network, sample.image, device=device)))
        decision_logit = best_threshold(logits, samples)
    card = replace(
        model.card,
        name=f"{model.card.name} fine-tuned",
        diameter=diameter,
        decision_logit=decision_logit,
        batch_norm=recipe.batch_norm,
        k_shot=support.k_shot,
        shots=tuple(shot.plane.name for shot in support.shots),
        parent=model.card.name,
        hyper_parameters={**asdict(recipe), "steps_done": done},
        seed=seed,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command="",
    )
    return Model(card, network.cpu().eval())


def _train(
    network: SegmentationNetwork,
    samples: Sequence[Sample],
    recipe: Recipe,
    seconds: float | None,
    rng: np.random.Generator,
    device: str,
    started: float,
) -> Generator[Progress, None, int]:
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    elapsed = 0.0
    for step in range(1, recipe.steps + 1):
        share = max((step - 1) / recipe.steps, 0 if seconds is None else min(1, elapsed / seconds))
        optimiser.param_groups[0]["lr"] = recipe.lr * (1 + math.cos(math.pi * share)) / 2
        batch = sample_crops(samples, recipe.crops, recipe.crop_size, rng)
        optimiser.zero_grad()
        logits, _ = network(batch.image.to(device, memory_format=torch.channels_last))
        loss = weighted_bce(logits, batch.target.to(device), batch.weight.to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        elapsed = time.perf_counter() - started
        yield Progress("fine-tuning", step, recipe.steps, elapsed, loss.item())
        if seconds is not None and elapsed >= seconds:
            break
    return step


def best_threshold(logits: Sequence[FloatImage], samples: Sequence[Sample]) -> float:
    """The logit above which the foreground agrees best with the annotation: highest mean IoU of the shots.

    A net trained with w = background / foreground in its loss puts sparse objects far above a probability of
    0.5 together with their surroundings; a handful of annotated images is enough to find that out.

    Parameters
    ----------
    logits : sequence of ndarray, float32, (H, W)
        Of each sample.
    samples : sequence of Sample
        Only annotated pixels count.
    """
    candidates = np.linspace(-4, 8, 97)
    ious = []
    for logit, sample in zip(logits, samples, strict=True):
        annotated = sample.weight > 0
        cell = sample.target[annotated] > 0
        values = logit[annotated]
        hits, false_alarms = (
            len(part) - np.searchsorted(np.sort(part), candidates, side="right")
            for part in (values[cell], values[~cell])
        )
        ious.append(hits / np.maximum(cell.sum() + false_alarms, 1))
    mean = np.mean(ious, axis=0)
    best = np.flatnonzero(mean >= mean.max() - 1e-3)
    return float(candidates[best[len(best) // 2]])  # the middle of a plateau


def _diameter(model: Model, support: SupportSet, recipe: Recipe, given: float | None) -> float:
    canonical = model.card.canonical_diameter
    if not recipe.rescale:
        return canonical
    wanted = median_diameter(support) if given is None else given
    return float(np.clip(wanted, canonical / LARGEST_FACTOR, canonical / SMALLEST_FACTOR))


def _check_samples(samples: Sequence[Sample], support: SupportSet) -> None:
    for sample, shot in zip(samples, support.shots, strict=True):
        if not (sample.target * sample.weight).any() or not ((1 - sample.target) * sample.weight).any():
            raise AnnotationError(
                f"The annotation of '{shot.plane.name}' is too thin to see at the scale of its objects; "
                "paint broader strokes, or check the cell diameter."
            )
