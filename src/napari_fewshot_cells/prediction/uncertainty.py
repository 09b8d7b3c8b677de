"""Suggest what to annotate next: the regions in which a model's augmented predictions disagree.

An image that is turned, mirrored or slightly darker shows the same cells. If the prediction changes all the
same, the model is uncertain, and an annotation there helps most.

References
----------
Dawoud et al., "Knowing What to Label for Few Shot Microscopy Image Cell Segmentation", WACV 2023: images are
chosen whose predictions are least consistent under augmentations.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from ..base.progress import Progress, relay
from ..data.plane import FloatImage, Plane
from ..models.model import Model
from .probability import logit_steps, network_for, network_input

OBJECTS_ACROSS = 8
"""Typical object diameters along the side of a region, which then holds some tens of cells."""

Box = tuple[int, int, int, int]
"""First row and column, then the row and column after the last, in pixels of a plane."""


@dataclass(frozen=True)
class Region:
    """A part of a plane, and how inconsistent the model's predictions are there.

    Attributes
    ----------
    plane : int
        Index of the plane among those ranked.
    box : tuple of int
        First row and column, then the row and column after the last, in pixels.
    score : float
        From 0 (all views agree) to 1; see `rank_regions`.
    """

    plane: int
    box: Box
    score: float


def rank_regions(
    model: Model, planes: Sequence[Plane], *, side: float | None = None, device: str = "cpu"
) -> Generator[Progress, None, list[Region]]:
    """Order regions of planes by the inconsistency of a model's predictions, the most inconsistent first.

    The model predicts each plane unchanged and in five views: mirrored, turned by 90° and by 180°, brighter
    and darker (gamma 0.7 and 1.4). A view's prediction is turned back. Its agreement with the prediction of
    the unchanged plane is the IoU of probabilities, (Σ min + a) / (Σ max + a) over the region's pixels; a is
    the area of one typical object, so that nearly empty regions count as agreeing. The score is 1 − the mean
    agreement of the views.

    Parameters
    ----------
    model : Model
        A fine-tuned model: its card gives the diameter of the objects.
    planes : sequence of Plane
    side : float, optional
        Approximate side of a region in pixels; planes are divided evenly. By default `OBJECTS_ACROSS` typical
        diameters. Infinity ranks whole planes.
    device : str
        "cpu", "cuda" or "mps".

    Yields
    ------
    Progress
        After each tile. Closing the generator cancels.
    """
    started, total, regions = time.perf_counter(), len(planes) * (1 + len(VIEWS)), []
    diameter = model.card.diameter or model.card.canonical_diameter
    for number, plane in enumerate(planes):
        image = network_input(model, plane)
        boxes = divide_plane(plane.shape, side or OBJECTS_ACROSS * diameter)
        scale = [seen / size for seen, size in zip(image.shape, plane.shape, strict=True)]
        windows = [_scaled(box, scale) for box in boxes]
        object_area = math.pi / 4 * (diameter * model.card.factor) ** 2
        disagreements = np.zeros(len(boxes))
        plain: FloatImage | None = None
        for n_view, view in enumerate((UNCHANGED, *VIEWS)):
            steps = _probability(model, np.ascontiguousarray(view.transform(image)), device)
            counted = partial(_counted, number * (1 + len(VIEWS)) + n_view, total, started)
            seen = view.invert((yield from relay(steps, counted)))
            if plain is None:
                plain = seen
                continue
            for n, window in enumerate(windows):
                shared = np.minimum(plain[window], seen[window]).sum(dtype=float) + object_area
                either = np.maximum(plain[window], seen[window]).sum(dtype=float) + object_area
                disagreements[n] += (1 - shared / either) / len(VIEWS)
        regions += [
            Region(number, box, float(score)) for box, score in zip(boxes, disagreements, strict=True)
        ]
    yield Progress("comparing views", total, total, time.perf_counter() - started)
    return sorted(regions, key=lambda region: -region.score)


def divide_plane(shape: tuple[int, int], side: float) -> list[Box]:
    """Divide a plane into regions of nearly equal size with sides of about `side`, row by row."""
    rows, columns = (_edges(size, side) for size in shape)
    return [
        (top, left, bottom, right)
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(columns)
    ]


@dataclass(frozen=True)
class View:
    """A transformation of an image, and the inverse that is applied to its prediction."""

    transform: Callable[[FloatImage], FloatImage]
    invert: Callable[[FloatImage], FloatImage]


def _identity(image: FloatImage) -> FloatImage:
    return image


def _gamma(power: float, image: FloatImage) -> FloatImage:
    unit = (image + 1) / 2  # undo the last step of `plane.normalise`
    result: FloatImage = (2 * np.sign(unit) * np.abs(unit) ** power - 1).astype(np.float32)
    return result


UNCHANGED = View(_identity, _identity)
VIEWS = (
    View(np.fliplr, np.fliplr),
    View(np.rot90, partial(np.rot90, k=-1)),
    View(partial(np.rot90, k=2), partial(np.rot90, k=2)),
    View(partial(_gamma, 0.7), _identity),
    View(partial(_gamma, 1.4), _identity),
)


def _probability(model: Model, image: FloatImage, device: str) -> Generator[Progress, None, FloatImage]:
    """Probability at the network's scale."""
    network = network_for(model, image, device=device)
    logits = yield from logit_steps(network, image, device=device)
    probability: FloatImage = torch.sigmoid(torch.from_numpy(logits) - model.card.decision_logit).numpy()
    return probability


def _counted(done: int, total: int, started: float, _tile: Progress) -> Progress:
    """Report a tile of one view as progress of all views."""
    return Progress("comparing views", done, total, time.perf_counter() - started)


def _edges(size: int, side: float) -> list[int]:
    """Positions that cut an axis into parts of about `side`."""
    return [int(edge) for edge in np.linspace(0, size, max(1, round(size / side)) + 1).round()]


def _scaled(box: Box, scale: Sequence[float]) -> tuple[slice, slice]:
    top, left, bottom, right = (
        round(edge * factor) for edge, factor in zip(box, (*scale, *scale), strict=True)
    )
    return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))
