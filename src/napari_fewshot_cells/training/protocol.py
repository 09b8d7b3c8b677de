"""The paper's protocol: fine-tune a start on K images of a target, test on others at full resolution."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..annotations import SupportSet
from ..finetune import Recipe, fine_tune
from ..metrics import iou
from ..models import Model
from ..prediction import predict
from ..progress import finish
from .tasks import Task


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
    """

    iou: float
    plain_iou: float
    seconds: float


def select(
    n_images: int, k_shot: int, selection: int, n_test: int | None = None
) -> tuple[list[int], list[int]]:
    """Indices of the support images and of the test images.

    A selection is a seeded order of all images: its first K are the support set, so that selections are
    nested over K, and the test images come from the rest beyond the largest support set of 10.

    Parameters
    ----------
    n_images, k_shot : int
    selection : int
        Seed.
    n_test : int, optional
        Test on so many only.
    """
    order = np.random.default_rng(selection).permutation(n_images).tolist()
    test = order[10:] if n_test is None else order[10 : 10 + n_test]
    return order[:k_shot], test


def few_shot_iou(
    model: Model,
    target: Task,
    support: Sequence[int],
    test: Sequence[int],
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Result:
    """Fine-tune on the support images of a target and measure the mean IoU on its test images."""
    shots = SupportSet(tuple(target.shots[i] for i in support))
    started = time.perf_counter()
    adapted = finish(fine_tune(model, shots, recipe=recipe, seed=seed, device=device))
    seconds = time.perf_counter() - started
    uncalibrated = 1 / (1 + np.exp(adapted.card.decision_logit))  # where a logit of 0 lies
    ious = []
    for i in test:
        probability = predict(adapted, target.shots[i].plane, device=device)
        ious.append([iou(probability > cut, target.shots[i].labels) for cut in (0.5, uncalibrated)])
    calibrated, plain = np.mean(ious, axis=0)
    return Result(float(calibrated), float(plain), seconds)
