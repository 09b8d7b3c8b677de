"""Before the first step: the support set as the network is to see it, and a copy of the network to train."""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from ..base.errors import AnnotationError
from ..base.progress import Progress
from ..data.channel_mix import Mix, fisher_mix
from ..data.crops import Sample, to_sample
from ..data.support_set import SupportSet, median_diameter
from ..models.model import Model
from ..models.networks import SegmentationNetwork
from .recipe import Recipe
from .stroke_outlines import most_agreement, outline_steps
from .unpainted_background import UnpaintedBackground

SMALLEST_FACTOR, LARGEST_FACTOR = 0.125, 4.0
"""Images are never fed smaller or larger than this, whatever the annotation says about object size."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a training by a recipe begins with.

    Attributes
    ----------
    network : SegmentationNetwork
        A copy, to be trained in place.
    samples : list of Sample
        The support set.
    mix : tuple of float or None
        Of the channels.
    diameter : float
        Of the objects in pixels.
    unpainted : UnpaintedBackground
    """

    network: SegmentationNetwork
    samples: list[Sample]
    mix: Mix | None
    diameter: float
    unpainted: UnpaintedBackground


def prepare(
    model: Model, support: SupportSet, recipe: Recipe, *, diameter: float | None, seed: int, device: str
) -> Generator[Progress, None, Prepared]:
    """Get a model and a support set ready for `steps.train`; parameters as in `finetune.fine_tune`."""
    mix = fisher_mix(support) if recipe.mix else None
    diameter, samples = to_samples(model, support, rescale=recipe.rescale, diameter=diameter, mix=mix)
    network = copy.deepcopy(model.network).to(device)
    samples = yield from outline_steps(network, samples, most=most_agreement(model.card), device=device)
    told_by = samples if recipe.unpainted else ()
    unpainted = UnpaintedBackground(told_by, recipe.balance, recipe.crop_size, seed)
    return Prepared(network, samples, mix, diameter, unpainted)


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
    samples = [to_sample(shot, factor, mix) for shot in support.shots]
    _check_samples(samples, support)
    return diameter, samples


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
