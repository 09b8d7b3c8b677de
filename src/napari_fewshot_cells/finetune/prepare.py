"""Prepare a training: the support set at the network's scale, and a copy of the network to train."""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from ..base.errors import AnnotationError
from ..base.progress import Progress
from ..data.channel_mix import Mix, fisher_mix
from ..data.crops import Sample, to_sample, with_contacts
from ..data.support_set import SupportSet, median_diameter, touching_share
from ..models.model import Model
from ..models.networks import ContactNetwork, SegmentationNetwork, knows_contacts
from .recipe import Recipe
from .stroke_outlines import agreement_limit, outline_steps
from .unpainted_background import UnpaintedBackground

SMALLEST_FACTOR, LARGEST_FACTOR = 0.125, 4.0
"""Limits of the scaling factor of images, whatever the object diameter."""

LEAST_TOUCHING = 0.5
"""Share of the annotated cells that must touch another for contacts to be learnt. If fewer touch, shape cuts
well enough, and what contacts change in the shared features has cost up to 0.06 of AP."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What `training_loop.train` needs beside the recipe.

    Attributes
    ----------
    network : SegmentationNetwork
        A copy, which is trained in place.
    samples : list of Sample
        The support set.
    mix : tuple of float or None
        Weights of the channels; None for grey values.
    diameter : float
        Of the objects in pixels.
    unpainted : UnpaintedBackground
    contacts : ContactNetwork or None
        The network again, if it learns where cells touch: it knows contacts, and most annotated cells touch.
    """

    network: SegmentationNetwork
    samples: list[Sample]
    mix: Mix | None
    diameter: float
    unpainted: UnpaintedBackground
    contacts: ContactNetwork | None = None


def prepare(
    model: Model, support: SupportSet, recipe: Recipe, *, diameter: float | None, seed: int, device: str
) -> Generator[Progress, None, Prepared]:
    """Prepare a model and a support set for `training_loop.train`; parameters as in `fine_tune`."""
    mix = fisher_mix(support) if recipe.mix else None
    diameter, samples = to_samples(model, support, rescale=recipe.rescale, diameter=diameter, mix=mix)
    network = copy.deepcopy(model.network).to(device)
    samples = yield from outline_steps(network, samples, limit=agreement_limit(model.card), device=device)
    estimated_on = samples if recipe.unpainted else ()
    unpainted = UnpaintedBackground(estimated_on, recipe.balance, recipe.crop_size, seed)
    contacts = network if shows_contacts(support, samples) and knows_contacts(network) else None
    return Prepared(network, samples, mix, diameter, unpainted, contacts)


def shows_contacts(support: SupportSet, samples: Sequence[Sample]) -> bool:
    """Whether the annotation shows so many touching cells that contacts are worth learning.

    Parameters
    ----------
    support : SupportSet
    samples : sequence of Sample
        The same at the network's scale.
    """
    return touching_share(support) >= LEAST_TOUCHING and any(s.contact is not None for s in samples)


def to_samples(
    model: Model,
    support: SupportSet,
    *,
    rescale: bool,
    diameter: float | None = None,
    mix: Mix | None = None,
) -> tuple[float, list[Sample]]:
    """The object diameter in pixels, and the support set as the network sees it.

    Parameters
    ----------
    model : Model
    support : SupportSet
    rescale : bool
        Rescale images so that the annotated objects have the canonical diameter; else keep native scale.
    diameter : float, optional
        Object diameter in pixels; by default measured on the annotation.
    mix : tuple of float, optional
        Weights of the channels; by default the image is converted to grey values.

    Raises
    ------
    AnnotationError
        The annotation vanishes at that scale.
    """
    diameter = _diameter(model, support, diameter) if rescale else model.card.canonical_diameter
    factor = model.card.canonical_diameter / diameter
    samples = [with_contacts(to_sample(shot, factor, mix), shot.cells) for shot in support.shots]
    _check_samples(samples, support, knows_contacts(model.network))
    return diameter, samples


def _diameter(model: Model, support: SupportSet, given: float | None) -> float:
    canonical = model.card.canonical_diameter
    wanted = median_diameter(support) if given is None else given
    return float(np.clip(wanted, canonical / LARGEST_FACTOR, canonical / SMALLEST_FACTOR))


def _check_samples(samples: Sequence[Sample], support: SupportSet, contacts: bool) -> None:
    for sample, shot in zip(samples, support.shots, strict=True):
        cells = bool((sample.target * sample.weight).any())
        background = bool(((1 - sample.target) * sample.weight).any())
        packed = shot.whole_image and bool(shot.cells.all())
        if packed and not contacts:
            raise AnnotationError(
                f"Only cells are annotated on '{shot.plane.name}', and this network does not know where "
                "cells touch; leave some background unpainted, or begin with half-unet."
            )
        if not cells or not (background or sample.contact is not None):
            raise AnnotationError(
                f"The annotation of '{shot.plane.name}' is too thin for the network to see; "
                "paint broader strokes, or check the cell diameter."
            )
