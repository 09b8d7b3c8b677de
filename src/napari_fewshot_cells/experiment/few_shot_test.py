"""The paper's protocol: fine-tune a start on K images of a target, test on others at full resolution."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..base.progress import Progress, finish
from ..data.plane import FloatImage, normalise
from ..data.support_set import MOST_SHOTS, Shot, SupportSet
from ..finetune.fine_tune import fine_tune
from ..finetune.paper_recipe import paper_fine_tune
from ..finetune.recipe import PaperRecipe, Recipe
from ..models.model import Model
from ..prediction.metrics import iou
from ..prediction.probability import predict
from ..training import provenance
from ..training.episodes import Task


@dataclass(frozen=True, eq=False)
class Example:
    """One test image and its segmentation.

    Attributes
    ----------
    image : ndarray, uint8, (H, W)
        Grey values between the percentiles of normalisation.
    truth, predicted : ndarray, bool, (H, W)
        Foreground; predicted at the calibrated threshold.
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    predicted: NDArray[np.bool_]


@dataclass(frozen=True)
class Result:
    """One fine-tuning and its test.

    Attributes
    ----------
    iou : float
        Foreground IoU of each test image at the calibrated threshold, then the mean over the images.
    plain_iou : float
        The same at the network's own probability of 0.5, as in the paper.
    seconds : float
        Of the fine-tuning, calibration included.
    example : Example
        The first test image.
    """

    iou: float
    plain_iou: float
    seconds: float
    example: Example


def select(
    n_images: int, k_shot: int, selection: int, n_test: int | None = None
) -> tuple[list[int], list[int]]:
    """Indices of the support images and of the test images.

    A selection is a seeded order of all images. Its first K are the support set, so selections are nested
    over K. The test images come from beyond the largest support set of 10.

    Parameters
    ----------
    n_images, k_shot : int
    selection : int
        Seed.
    n_test : int, optional
        Test on this many only.
    """
    order = np.random.default_rng(selection).permutation(n_images).tolist()
    test = order[MOST_SHOTS:] if n_test is None else order[MOST_SHOTS : MOST_SHOTS + n_test]
    return order[:k_shot], test


def few_shot_steps(
    model: Model,
    target: Task,
    support: Sequence[int],
    test: Sequence[int],
    *,
    recipe: Recipe | PaperRecipe | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Generator[Progress, None, Result]:
    """Fine-tune on the support images of a target and measure the mean IoU on its test images.

    Parameters
    ----------
    model : Model
    target : Task
    support, test : sequence of int
        Indices into the target's shots; at least one each.
    recipe : Recipe or PaperRecipe, optional
    seed : int
        Of the crops.
    device : str

    Yields
    ------
    Progress

    Raises
    ------
    ValueError
        If there is no image to test on.
    """
    if not test:
        raise ValueError("no image to test on")
    shots = SupportSet(tuple(target.shots[i] for i in support))
    started = time.perf_counter()
    if isinstance(recipe, PaperRecipe):
        adapted = yield from paper_fine_tune(model, shots, recipe=recipe, seed=seed, device=device)
    else:
        adapted = yield from fine_tune(model, shots, recipe=recipe, seed=seed, device=device)
    seconds = time.perf_counter() - started
    uncalibrated = 1 / (1 + np.exp(adapted.card.decision_logit))  # the calibrated probability of logit 0
    ious: list[list[float]] = []
    for i in test:
        yield Progress("testing", len(ious), len(test), time.perf_counter() - started - seconds)
        shot = target.shots[i]
        probability = predict(adapted, shot.plane, device=device)
        if not ious:
            example = _example(shot, probability)
        ious.append([iou(probability > cut, shot.labels) for cut in (0.5, uncalibrated)])
    calibrated, plain = np.mean(ious, axis=0)
    return Result(float(calibrated), float(plain), seconds, example)


def few_shot_iou(
    model: Model,
    target: Task,
    support: Sequence[int],
    test: Sequence[int],
    *,
    recipe: Recipe | PaperRecipe | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Result:
    """As `few_shot_steps`, without progress."""
    return finish(few_shot_steps(model, target, support, test, recipe=recipe, seed=seed, device=device))


def machine_of(recipe: Recipe | PaperRecipe, device: str) -> str:
    """The machine, and the precision of the paper's recipe if it is not plain float32.

    Our own recipe uses bfloat16 if the machine is listed with bfloat16 units.
    """
    precision = recipe.precision if isinstance(recipe, PaperRecipe) else "32-true"
    return provenance.machine(device, precision)


def _example(shot: Shot, probability: FloatImage) -> Example:
    grey = np.clip((normalise(shot.plane) + 1) * 127.5, 0, 255).astype(np.uint8)
    return Example(grey, shot.labels > 0, probability > 0.5)
