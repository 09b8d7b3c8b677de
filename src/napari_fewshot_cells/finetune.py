"""Few-shot adaptation: a meta-trained model and a support set become a model of the target."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np
import torch

from .annotations import SupportSet, median_diameter
from .calibration import calibrated_threshold
from .contrast import Mix, fisher_mix, mixed
from .crops import Sample, sample_crops, to_sample
from .errors import AnnotationError
from .images import normalise
from .models import Model, ModelCard
from .networks import SegmentationNetwork, store_statistics
from .outlining import most_agreement, outline_steps
from .prediction import at_full_resolution
from .progress import Progress
from .recipe import Recipe
from .refinement import Refinement, fit_refinement
from .settling import Settled, settle
from .steps import new_unpainted, train
from .unpainted import UnpaintedBackground

SMALLEST_FACTOR, LARGEST_FACTOR = 0.125, 4.0
"""Images are never fed smaller or larger than this, whatever the annotation says about object size."""


def fine_tune(
    model: Model,
    support: SupportSet,
    *,
    recipe: Recipe | None = None,
    seconds: float | None = None,
    stop: Callable[[], bool] | None = None,
    seed: int = 0,
    device: str = "cpu",
    diameter: float | None = None,
    watch: Callable[[Callable[[], Model]], None] | None = None,
) -> Generator[Progress, None, Model]:
    """Adapt a model to the annotated images with L_BCE (Eq. 3).

    Parameters
    ----------
    model : Model
        Stays untouched. One that was fine-tuned before goes on from its weights; scale, mix, statistics and
        threshold are found anew.
    support : SupportSet
    recipe : Recipe, optional
    seconds : float, optional
        Stop the steps after this time, even if some of the recipe's are left.
    stop : callable, optional
        Asked after each step; True ends the steps, and what has been learnt is kept.
    seed : int
        Of the crops; the same seed on the same machine gives the same weights.
    device : str
        "cpu", "cuda" or "mps".
    diameter : float, optional
        Object diameter in pixels; by default taken from the annotation.
    watch : callable, optional
        Given, before the first step, a function that copies the model as it is at the moment. To call it
        between steps costs time and changes nothing of the result.

    Yields
    ------
    Progress
        After each step. Closing the generator cancels: then nothing is kept.

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
    mix = fisher_mix(support) if recipe.mix else None
    diameter, samples = to_samples(model, support, rescale=recipe.rescale, diameter=diameter, mix=mix)
    network = copy.deepcopy(model.network).to(device)
    most = most_agreement(model.card)
    samples = yield from outline_steps(network, samples, most=most, device=device)
    unpainted = new_unpainted(samples, recipe, seed)
    if watch is not None:
        card = replace(
            model.card,
            diameter=diameter,
            mix=mix,
            batch_norm="support",
            refinement=None,
            views=1,  # soon made
        )
        watch(partial(_as_it_is, card, network, samples, recipe, unpainted, seed, device))
    done = yield from train(
        network,
        samples,
        recipe,
        unpainted,
        seconds=seconds,
        stop=stop,
        seed=seed,
        device=device,
        started=started,
    )
    settled = yield from settle(
        network,
        samples,
        batch_norm=recipe.batch_norm,
        calibrate=recipe.calibrate,
        balance=recipe.balance,
        unpainted=unpainted.weight,
        device=device,
    )
    agreement = max(sample.agreement for sample in samples)
    refinement = None
    if recipe.refine and settled.logits and any(shot.whole_image for shot in support.shots):
        yield Progress("refining", 0, 1, 0.0)
        refinement = _refinement(support, settled, mix, seed)
    card = replace(
        adapted_card(model.card, support, diameter=diameter, decision_logit=settled.decision_logit),
        mix=mix,
        refinement=refinement,
        batch_norm=recipe.batch_norm,
        views=recipe.views,
        hyper_parameters={**asdict(recipe), "steps_done": done, "agreement": agreement},
        seed=seed,
    )
    return Model(card, network.cpu().eval())


def to_samples(
    model: Model,
    support: SupportSet,
    *,
    rescale: bool,
    diameter: float | None = None,
    mix: Mix | None = None,
) -> tuple[float, list[Sample]]:
    """The support set as the network is to see it, and the object diameter in pixels that goes with it.

    Parameters
    ----------
    model : Model
    support : SupportSet
    rescale : bool
        Bring the annotated objects to the canonical diameter; else native scale.
    diameter : float, optional
        Object diameter in pixels; by default taken from the annotation.
    mix : tuple of float, optional
        Of the channels; by default grey values.

    Raises
    ------
    AnnotationError
        The annotation vanishes at that scale.
    """
    diameter = _diameter(model, support, diameter) if rescale else model.card.canonical_diameter
    factor = model.card.canonical_diameter / diameter
    samples = [to_sample(replace(shot, plane=mixed(shot.plane, mix)), factor) for shot in support.shots]
    _check_samples(samples, support)
    return diameter, samples


def _refinement(support: SupportSet, settled: Settled, mix: Mix | None, seed: int) -> Refinement:
    whole = [(s, z) for s, z in zip(support.shots, settled.logits, strict=True) if s.whole_image]
    logits = [at_full_resolution(z, settled.decision_logit, shot.plane.shape) for shot, z in whole]
    images = [normalise(mixed(shot.plane, mix)) for shot, _ in whole]
    return fit_refinement(logits, images, [shot.target for shot, _ in whole], seed)


def adapted_card(
    card: ModelCard, support: SupportSet, *, diameter: float, decision_logit: float
) -> ModelCard:
    """The card of a model fine-tuned on `support` just now; how it was trained remains to be filled in."""
    return replace(
        card,
        name=f"{card.name} fine-tuned",
        score="",
        refinement=None,
        diameter=diameter,
        decision_logit=decision_logit,
        k_shot=support.k_shot,
        shots=tuple(shot.plane.name for shot in support.shots),
        parent=card.name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command="",
    )


_WATCHED_CROPS = 4


def _as_it_is(
    card: ModelCard,
    network: SegmentationNetwork,
    samples: Sequence[Sample],
    recipe: Recipe,
    unpainted: UnpaintedBackground,
    seed: int,
    device: str,
) -> Model:
    """A copy in the middle of training; statistics and threshold are those of a few crops: soon made."""
    rng = np.random.default_rng(seed)
    crops = sample_crops(samples, _WATCHED_CROPS, recipe.crop_size, rng, augment=False)
    copied = copy.deepcopy(network)
    store_statistics(copied, [crops.image.to(device, memory_format=torch.channels_last)])
    copied.eval()
    with torch.inference_mode():
        logits, _ = copied(crops.image.to(device, memory_format=torch.channels_last))
    parts = (part[:, 0].numpy() for part in (crops.image, crops.target, crops.weight))
    stacks = zip(*parts, strict=True)
    agreement = float(np.mean([sample.agreement for sample in samples]))
    seen = [Sample(image, target, weight, agreement=agreement) for image, target, weight in stacks]
    threshold = calibrated_threshold(list(logits[:, 0].cpu().numpy()), seen, recipe.balance, unpainted.weight)
    return Model(replace(card, decision_logit=threshold), copied)


def _diameter(model: Model, support: SupportSet, given: float | None) -> float:
    canonical = model.card.canonical_diameter
    wanted = median_diameter(support) if given is None else given
    return float(np.clip(wanted, canonical / LARGEST_FACTOR, canonical / SMALLEST_FACTOR))


def _check_samples(samples: Sequence[Sample], support: SupportSet) -> None:
    for sample, shot in zip(samples, support.shots, strict=True):
        if not (sample.target * sample.weight).any() or not ((1 - sample.target) * sample.weight).any():
            raise AnnotationError(
                f"The annotation of '{shot.plane.name}' is too thin to see at the scale of its objects; "
                "paint broader strokes, or check the cell diameter."
            )
