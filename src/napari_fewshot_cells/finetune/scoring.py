"""Score a fine-tuned model on its own shots, and say which kind of score it is.

With several shots, short trainings leave one out each, and predict it. This is cheap enough to do after each
press of the button, and it underestimates the model. With one shot the score is the agreement with the
annotation, which is always high, because the model was trained on it.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..base.progress import Progress, relay
from ..data.channel_mix import mix_channels
from ..data.crops import Sample
from ..data.plane import normalise
from ..data.support_set import SupportSet
from ..models.batch_norm import fused
from ..models.model import Model
from ..prediction.metrics import iou
from ..prediction.probability import predict_window
from .calibration import calibration_steps
from .prepare import prepare, to_samples
from .recipe import Recipe
from .training_loop import train

MOST_LEFT_OUT = 3
"""Most shots that are left out, each in a short training of its own."""

SHORT = 0.4
"""Share of the recipe's steps in a short training; fewer if the time runs out."""

SECONDS = 20.0
"""Time limit of a score."""

WORSE = 0.02
"""A new model is worse than the old one if its IoU on the annotation is lower by more than this."""

_TRAINING_SHARE = 0.7  # of its time; the rest is for statistics, threshold and prediction
_MOST_PIXELS = 2**20  # at the network's scale, of all shots together, for agreement
_MOST_CALIBRATION_PIXELS = 2**18  # the same, for statistics and threshold of a short training

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Agreement:
    """Agreement of a model with the annotation.

    Attributes
    ----------
    share : float
        Share of the annotated pixels that the model classifies as they were painted.
    iou : float
        Of the foreground, on annotated pixels only; mean over the shots.
    shares : tuple of float
        `share` of each shot.
    """

    share: float
    iou: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Score:
    """The score of a model.

    Attributes
    ----------
    kind : {"left out", "painted"}
        Mean IoU of the foreground of left-out shots, or the share of painted pixels classified as painted.
    value : float
        In [0, 1].
    images : int
        Number of shots measured.
    shots : tuple of float or None
        `value` of each shot; None if it was not measured.
    steps, full_steps : int
        Steps of the short trainings, and of the recipe.
    """

    kind: Literal["left out", "painted"]
    value: float
    images: int
    shots: tuple[float | None, ...] = ()
    steps: int = 0
    full_steps: int = 0

    def __str__(self) -> str:
        if self.kind == "painted":
            share = f"{100 * self.value:.0f} %"
            return f"Agrees with {share} of what you painted (that says little: it was trained on it)"
        return (
            f"Left-out images: {self.value:.2f} IoU on average of {self.images} "
            f"(short trainings without them: {self.steps} of {self.full_steps} steps)"
        )

    @property
    def short(self) -> str:
        """The score in two words, for a list."""
        return f"{self.number(self.value)} {self.kind}"

    def number(self, value: float) -> str:
        """The text of a value, this one or a shot's: a share in per cent, or an IoU."""
        return f"{100 * value:.0f} %" if self.kind == "painted" else f"{value:.2f}"


def score(
    start: Model,
    model: Model,
    support: SupportSet,
    *,
    recipe: Recipe | None = None,
    seconds: float = SECONDS,
    seed: int = 0,
    device: str = "cpu",
) -> Generator[Progress, None, Score]:
    """The best score that the shots allow: left-out shots, else agreement with the annotation.

    Parameters
    ----------
    start : Model
        The model that was fine-tuned. If it was fine-tuned before, it may have seen the shots, and leaving
        one out would prove nothing: the score is then the agreement, as with a single shot.
    model : Model
        The result of fine-tuning on `support`.
    support : SupportSet
    recipe, seconds, seed, device
        As in `leave_one_out`.
    """
    if support.k_shot > 1 and start.card.k_shot == 0:
        return (
            yield from leave_one_out(
                start,
                support,
                diameter=model.card.diameter,
                recipe=recipe,
                seconds=seconds,
                seed=seed,
                device=device,
            )
        )
    found = yield from agreement(model, support, device=device)
    return Score("painted", found.share, support.k_shot, found.shares)


def leave_one_out(
    start: Model,
    support: SupportSet,
    *,
    diameter: float | None = None,
    recipe: Recipe | None = None,
    seconds: float = SECONDS,
    seed: int = 0,
    device: str = "cpu",
) -> Generator[Progress, None, Score]:
    """IoU on held-out shots, each after a short training on the others; at most `MOST_LEFT_OUT` of them.

    Parameters
    ----------
    start : Model
    support : SupportSet
        Two or more shots.
    diameter : float, optional
        Of the objects in pixels; by default measured on all shots. It is the only thing that a training knows
        of the held-out shot; without it, a shot might be refused for its scale.
    recipe : Recipe, optional
        Recipe of the full training.
    seconds : float
        Time limit. On a slow machine the trainings have fewer steps, and the score says so.
    seed : int
        Of the crops, and of the choice of held-out shots.
    device : str

    Returns
    -------
    Score
    """
    recipe = recipe or Recipe()
    started = time.perf_counter()
    diameter, samples = to_samples(start, support, rescale=recipe.rescale, diameter=diameter)
    order = np.random.default_rng(seed).permutation(support.k_shot)[:MOST_LEFT_OUT]
    full_steps = recipe.steps_for(samples)
    short = recipe.with_steps(max(1, round(SHORT * full_steps)))
    values: dict[int, float] = {}
    fewest = short.steps
    for done, left in enumerate(order):
        stage = f"left-out image {done + 1} of {len(order)}"
        limit = (seconds - (time.perf_counter() - started)) / (len(order) - done)
        rest = SupportSet(tuple(shot for n, shot in enumerate(support.shots) if n != left))
        training = _short_training(
            start, rest, short, diameter, seconds=limit * _TRAINING_SHARE, seed=seed, device=device
        )
        at_stage = partial(replace, stage=stage, loss=None)
        model, steps = yield from relay(training, at_stage)
        left_out = SupportSet((support.shots[left],))
        found = yield from relay(agreement(model, left_out, device=device), at_stage)
        values[int(left)] = found.iou
        fewest = min(fewest, steps)
    shots = tuple(values.get(n) for n in range(support.k_shot))
    return Score("left out", float(np.mean(list(values.values()))), len(values), shots, fewest, full_steps)


def agreement(
    model: Model,
    support: SupportSet,
    *,
    windows: Sequence[Window] | None = None,
    device: str = "cpu",
) -> Generator[Progress, None, Agreement]:
    """Agreement of a model with the annotation, on annotated pixels.

    Parameters
    ----------
    model : Model
    support : SupportSet
    windows : sequence of tuple of slice, optional
        Part of each shot to predict; by default `annotated_windows` at this model's scale.
    device : str
    """
    started = time.perf_counter()
    windows = windows or annotated_windows(support, model.card.factor)
    if model.card.batch_norm != "image":
        model = Model(model.card, fused(model.network))
    right: list[int] = []
    painted: list[int] = []
    ious: list[float] = []
    for shot, window in zip(support.shots, windows, strict=True):
        yield Progress("comparing", len(ious), support.k_shot, time.perf_counter() - started)
        image = normalise(mix_channels(shot.plane, model.card.mix))
        found = predict_window(model, image, window, device=device) > 0.5
        annotated, cell = shot.weight[window] > 0, shot.target[window] > 0
        right.append(int(np.count_nonzero((found == cell) & annotated)))
        painted.append(int(np.count_nonzero(annotated)))
        ious.append(iou(found & annotated, cell & annotated))
    shares = tuple(r / n for r, n in zip(right, painted, strict=True))
    return Agreement(sum(right) / sum(painted), float(np.mean(ious)), shares)


def is_worse(new: Agreement, old: Agreement) -> bool:
    """Whether a new model agrees clearly less with the same annotation than the old one."""
    return new.iou < old.iou - WORSE


def annotated_windows(support: SupportSet, factor: float) -> tuple[Window, ...]:
    """The part of each shot that contains its annotation, or the middle of it if it is large.

    Parameters
    ----------
    support : SupportSet
    factor : float
        Scaling factor of the prediction; the larger it is, the smaller are the windows.
    """
    side = int(np.sqrt(_MOST_PIXELS / support.k_shot) / factor)
    return tuple(_window(shot.weight > 0, shot.target > 0, side) for shot in support.shots)


def _short_training(
    start: Model,
    support: SupportSet,
    recipe: Recipe,
    diameter: float,
    *,
    seconds: float,
    seed: int,
    device: str,
) -> Generator[Progress, None, tuple[Model, int]]:
    """As `fine_tune`, but statistics and threshold come from parts of the shots."""
    ready = yield from prepare(start, support, recipe, diameter=diameter, seed=seed, device=device)
    steps = yield from train(ready, recipe, seconds=seconds, seed=seed, device=device)
    side = int(np.sqrt(_MOST_CALIBRATION_PIXELS / len(ready.samples)))
    parts = [_crop_to_annotation(sample, side) for sample in ready.samples]
    calibration = yield from calibration_steps(
        ready.network,
        parts,
        batch_norm=recipe.batch_norm,
        calibrate=recipe.calibrate,
        balance=recipe.balance,
        unpainted=ready.unpainted.weight,
        device=device,
    )
    card = replace(
        start.card,
        diameter=ready.diameter,
        mix=ready.mix,
        batch_norm=recipe.batch_norm,
        decision_logit=calibration.decision_logit,
        refinement=None,
    )
    return Model(card, ready.network.eval()), steps


def _crop_to_annotation(sample: Sample, side: int) -> Sample:
    window = _window(sample.weight > 0, sample.target * sample.weight > 0, side)
    image, target, weight = (
        np.ascontiguousarray(a[window]) for a in (sample.image, sample.target, sample.weight)
    )
    return replace(sample, image=image, target=target, weight=weight)


def _window(annotated: NDArray[np.bool_], cell: NDArray[np.bool_], side: int) -> Window:
    """Rows and columns of the annotation; if they are more than `side`, `side` around the middle cell."""
    side = max(1, side)
    centre = _middle(cell)
    spans = []
    for axis, at in enumerate(centre):
        touched = np.flatnonzero(annotated.any(axis=1 - axis))
        low, high = int(touched[0]), int(touched[-1]) + 1
        if high - low > side:
            low = int(np.clip(at - side // 2, low, high - side))
            high = low + side
        spans.append(slice(low, high))
    return spans[0], spans[1]


def _middle(cell: NDArray[np.bool_]) -> tuple[int, int]:
    """The median cell pixel in reading order, which always lies on a cell."""
    places = np.flatnonzero(cell)
    row, column = divmod(int(places[len(places) // 2]), cell.shape[1])
    return row, column
