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

from ..base.progress import Progress
from ..data.channel_mix import Mix, mix_channels
from ..data.crops import Sample, sample_crops
from ..data.plane import FloatImage, normalise
from ..data.support_set import Shot, SupportSet
from ..models.batch_norm import store_statistics
from ..models.model import Model, ModelCard
from ..prediction.border_refinement import Refinement
from ..prediction.probability import at_full_resolution
from .calibration import calibrated_threshold, settle
from .fit_borders import fit_refinement, fit_to_strokes, tells_borders
from .prepare import Prepared, prepare
from .recipe import Recipe
from .training_loop import train


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
    ready = yield from prepare(model, support, recipe, diameter=diameter, seed=seed, device=device)
    if watch is not None:
        card = replace(
            model.card,
            diameter=ready.diameter,
            mix=ready.mix,
            batch_norm="support",
            refinement=None,
            views=1,  # soon made
        )
        watch(partial(_as_it_is, card, ready, recipe, seed, device))
    done = yield from train(
        ready,
        recipe,
        seconds=seconds,
        stop=stop,
        seed=seed,
        device=device,
        started=started,
    )
    settled = yield from settle(
        ready.network,
        ready.samples,
        batch_norm=recipe.batch_norm,
        calibrate=recipe.calibrate,
        balance=recipe.balance,
        unpainted=ready.unpainted.weight,
        device=device,
    )
    agreement = max(sample.agreement for sample in ready.samples)
    refinement = None
    told = _telling(support, ready.samples) if recipe.refine and settled.logits else []
    if told:
        yield Progress("refining", 0, 1, 0.0)
        shots = [(support.shots[i], settled.logits[i]) for i in told]
        refinement = _refinement(ready.mix, shots, settled.decision_logit, seed)
    card = replace(
        adapted_card(model.card, support, diameter=ready.diameter, decision_logit=settled.decision_logit),
        mix=ready.mix,
        refinement=refinement,
        batch_norm=recipe.batch_norm,
        views=recipe.views,
        hyper_parameters={**asdict(recipe), "steps_done": done, "agreement": agreement},
        seed=seed,
    )
    return Model(card, ready.network.cpu().eval())


def _telling(support: SupportSet, samples: Sequence[Sample]) -> list[int]:
    """Shots that say where exactly a cell ends: complete ones, else strokes that run beside cells, too."""
    whole = [i for i, shot in enumerate(support.shots) if shot.whole_image]
    return whole or [i for i, sample in enumerate(samples) if tells_borders(sample)]


def _refinement(
    mix: Mix | None, told: Sequence[tuple[Shot, FloatImage]], decision_logit: float, seed: int
) -> Refinement:
    logits = [at_full_resolution(z, decision_logit, shot.plane.shape) for shot, z in told]
    images = [normalise(mix_channels(shot.plane, mix)) for shot, _ in told]
    targets = [shot.target for shot, _ in told]
    if told[0][0].whole_image:
        return fit_refinement(logits, images, targets, seed)
    return fit_to_strokes(logits, images, targets, [shot.weight > 0 for shot, _ in told], seed)


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


def _as_it_is(card: ModelCard, ready: Prepared, recipe: Recipe, seed: int, device: str) -> Model:
    """A copy in the middle of training; statistics and threshold are those of a few crops: soon made."""
    rng = np.random.default_rng(seed)
    crops = sample_crops(ready.samples, _WATCHED_CROPS, recipe.crop_size, rng, augment=False)
    copied = copy.deepcopy(ready.network)
    store_statistics(copied, [crops.image.to(device, memory_format=torch.channels_last)])
    copied.eval()
    with torch.inference_mode():
        logits, _ = copied(crops.image.to(device, memory_format=torch.channels_last))
    parts = (part[:, 0].numpy() for part in (crops.image, crops.target, crops.weight))
    stacks = zip(*parts, strict=True)
    agreement = float(np.mean([sample.agreement for sample in ready.samples]))
    seen = [Sample(image, target, weight, agreement=agreement) for image, target, weight in stacks]
    threshold = calibrated_threshold(
        list(logits[:, 0].cpu().numpy()), seen, recipe.balance, ready.unpainted.weight
    )
    return Model(replace(card, decision_logit=threshold), copied)
