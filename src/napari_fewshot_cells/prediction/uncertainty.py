"""What to annotate next: where a model contradicts itself when it sees the same thing in another way.

An image that is turned, mirrored, or a little darker shows the same cells. Where the prediction changes with
it, the model does not know, and an annotation there has most to tell.

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
from .probability import as_seen, logit_steps, network_for

OBJECTS_ACROSS = 8
"""Typical objects along the side of a region: some tens of cells to annotate."""

Box = tuple[int, int, int, int]
"""First row and column, and those after the last, in pixels of a plane."""


@dataclass(frozen=True)
class Region:
    """A part of a plane and how inconsistent the model is there.

    Attributes
    ----------
    plane : int
        Which of the planes that were given.
    box : tuple of int
        First row and column, and those after the last, in pixels.
    score : float
        From 0, all views agree, to 1; see `rank_regions`.
    """

    plane: int
    box: Box
    score: float


def rank_regions(
    model: Model, planes: Sequence[Plane], *, side: float | None = None, device: str = "cpu"
) -> Generator[Progress, None, list[Region]]:
    """Order regions of planes by the inconsistency of a model's predictions, the most inconsistent first.

    Each plane is seen as it is and in five views: mirrored, turned by 90° and by 180°, darker and brighter
    (gamma 1.4 and 0.7). A view's prediction is turned back; its agreement with that of the plane itself is
    (Σ min + a) / (Σ max + a) over the region's pixels, the IoU of probabilities, where a is the area of one
    typical object, so that regions with next to nothing in them count as agreeing. The score is 1 − the mean
    agreement.

    Parameters
    ----------
    model : Model
        A fine-tuned one; its card knows the size of the objects.
    planes : sequence of Plane
    side : float, optional
        About the side of a region in pixels; planes are divided evenly. By default that of `OBJECTS_ACROSS`
        typical objects. Infinity ranks whole planes.
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
        image = as_seen(model, plane)
        boxes = divide(plane.shape, side or OBJECTS_ACROSS * diameter)
        scale = [seen / size for seen, size in zip(image.shape, plane.shape, strict=True)]
        windows = [_scaled(box, scale) for box in boxes]
        object_area = math.pi / 4 * (diameter * model.card.factor) ** 2
        disagreements = np.zeros(len(boxes))
        plain: FloatImage | None = None
        for n_view, view in enumerate((SAME, *VIEWS)):
            steps = _probability(model, np.ascontiguousarray(view.see(image)), device)
            counted = partial(_counted, number * (1 + len(VIEWS)) + n_view, total, started)
            seen = view.back((yield from relay(steps, counted)))
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


def divide(shape: tuple[int, int], side: float) -> list[Box]:
    """Regions of about `side` that make up a plane, all of about one size, row by row."""
    rows, columns = (_edges(size, side) for size in shape)
    return [
        (top, left, bottom, right)
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(columns)
    ]


@dataclass(frozen=True)
class View:
    """Another way to see an image, and the way back for what is predicted of it."""

    see: Callable[[FloatImage], FloatImage]
    back: Callable[[FloatImage], FloatImage]


def _as_it_is(image: FloatImage) -> FloatImage:
    return image


def _gamma(power: float, image: FloatImage) -> FloatImage:
    unit = (image + 1) / 2  # see `images.normalise`
    result: FloatImage = (2 * np.sign(unit) * np.abs(unit) ** power - 1).astype(np.float32)
    return result


SAME = View(_as_it_is, _as_it_is)
VIEWS = (
    View(np.fliplr, np.fliplr),
    View(np.rot90, partial(np.rot90, k=-1)),
    View(partial(np.rot90, k=2), partial(np.rot90, k=2)),
    View(partial(_gamma, 0.7), _as_it_is),
    View(partial(_gamma, 1.4), _as_it_is),
)


def _probability(model: Model, image: FloatImage, device: str) -> Generator[Progress, None, FloatImage]:
    """At the network's scale."""
    network = network_for(model, image, device=device)
    logits = yield from logit_steps(network, image, device=device)
    probability: FloatImage = torch.sigmoid(torch.from_numpy(logits) - model.card.decision_logit).numpy()
    return probability


def _counted(done: int, total: int, started: float, _tile: Progress) -> Progress:
    """A tile of one view as a step of the whole."""
    return Progress("comparing views", done, total, time.perf_counter() - started)


def _edges(size: int, side: float) -> list[int]:
    """Where an axis is cut into parts of about `side`."""
    return [int(edge) for edge in np.linspace(0, size, max(1, round(size / side)) + 1).round()]


def _scaled(box: Box, scale: Sequence[float]) -> tuple[slice, slice]:
    top, left, bottom, right = (
        round(edge * factor) for edge, factor in zip(box, (*scale, *scale), strict=True)
    )
    return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))
