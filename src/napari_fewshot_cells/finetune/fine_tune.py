"""Fine-tune a meta-trained model on a support set: the result is a model of the target."""

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
from .calibration import calibrated_threshold, calibration_steps
from .fit_borders import fit_refinement, fit_to_strokes, strokes_show_borders
from .prepare import Prepared, prepare
from .recipe import Recipe
from .separation import choose_contact_logit
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
        It is not changed. If it was fine-tuned before, training continues from its weights; scale, channel
        mix, statistics and threshold are computed anew.
    support : SupportSet
    recipe : Recipe, optional
    seconds : float, optional
        Stop training after this time, even if steps of the recipe are left.
    stop : callable, optional
        Called after each step. If it returns True, training ends and the model is kept.
    seed : int
        Of the crops; the same seed on the same machine gives the same weights.
    device : str
        "cpu", "cuda" or "mps".
    diameter : float, optional
        Object diameter in pixels; by default measured on the annotation.
    watch : callable, optional
        Called before the first step with a function that returns a copy of the model in its current state.
        Calling that function between steps takes time and does not change the result.

    Yields
    ------
    Progress
        After each step. Closing the generator cancels, and nothing is kept.

    Returns
    -------
    Model
        On the CPU. Its card holds object diameter, threshold, shots and parent.

    Raises
    ------
    AnnotationError
        The annotation vanishes at the network's scale: it is too thin, or the diameter is wrong.
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
            views=1,  # fastest
        )
        watch(partial(_snapshot, card, ready, recipe, seed, device))
    done = yield from train(
        ready,
        recipe,
        seconds=seconds,
        stop=stop,
        seed=seed,
        device=device,
        started=started,
    )
    calibration = yield from calibration_steps(
        ready.network,
        ready.samples,
        batch_norm=recipe.batch_norm,
        calibrate=recipe.calibrate,
        balance=recipe.balance,
        unpainted=ready.unpainted.weight,
        contacts=ready.contacts is not None,
        device=device,
    )
    agreement = max(sample.agreement for sample in ready.samples)
    refinement = None
    chosen = _shots_with_borders(support, ready.samples) if recipe.refine and calibration.logits else []
    if chosen:
        yield Progress("refining", 0, 1, 0.0)
        shots = [(support.shots[i], calibration.logits[i]) for i in chosen]
        refinement = _fit_borders(ready.mix, shots, calibration.decision_logit, seed)
    card = replace(
        adapted_card(model.card, support, diameter=ready.diameter, decision_logit=calibration.decision_logit),
        contact_logit=choose_contact_logit(
            calibration, support.shots, ready.samples, model.card.canonical_diameter
        ),
        mix=ready.mix,
        refinement=refinement,
        batch_norm=recipe.batch_norm,
        views=recipe.views,
        hyper_parameters={**asdict(recipe), "steps_done": done, "agreement": agreement},
        seed=seed,
    )
    return Model(card, ready.network.cpu().eval())


def _shots_with_borders(support: SupportSet, samples: Sequence[Sample]) -> list[int]:
    """Shots that show cell borders: completely annotated ones; if there are none, strokes beside cells."""
    whole = [i for i, shot in enumerate(support.shots) if shot.whole_image and not shot.target.all()]
    return whole or [i for i, sample in enumerate(samples) if strokes_show_borders(sample)]


def _fit_borders(
    mix: Mix | None, shots: Sequence[tuple[Shot, FloatImage]], decision_logit: float, seed: int
) -> Refinement:
    logits = [at_full_resolution(z, decision_logit, shot.plane.shape) for shot, z in shots]
    images = [normalise(mix_channels(shot.plane, mix)) for shot, _ in shots]
    targets = [shot.target for shot, _ in shots]
    if shots[0][0].whole_image:
        return fit_refinement(logits, images, targets, seed)
    return fit_to_strokes(logits, images, targets, [shot.weight > 0 for shot, _ in shots], seed)


def adapted_card(
    card: ModelCard, support: SupportSet, *, diameter: float, decision_logit: float
) -> ModelCard:
    """The card of a model fine-tuned on `support`; the caller adds how it was trained."""
    return replace(
        card,
        name=f"{card.name} fine-tuned",
        score="",
        contact_logit=None,
        refinement=None,
        diameter=diameter,
        decision_logit=decision_logit,
        k_shot=support.k_shot,
        shots=tuple(shot.plane.name for shot in support.shots),
        parent=card.name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command="",
    )


_SNAPSHOT_CROPS = 4


def _snapshot(card: ModelCard, ready: Prepared, recipe: Recipe, seed: int, device: str) -> Model:
    """A copy of the model in training; a few crops give statistics and threshold, because that is fast."""
    rng = np.random.default_rng(seed)
    crops = sample_crops(ready.samples, _SNAPSHOT_CROPS, recipe.crop_size, rng, augment=False)
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
