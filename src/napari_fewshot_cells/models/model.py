"""A model: a network and its card, which together are all one needs to use, cite and reproduce the model.

On disk, a model is two files. ``NAME.safetensors`` is complete, with the card in its header. ``NAME.json`` is
the same card for people to read. Unlike a pickle, a safetensors file cannot contain code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from ..base.validation import Count, Date, Finite

if TYPE_CHECKING:
    from .networks import SegmentationNetwork

CANONICAL_DIAMETER = 28.0
"""Pixels that a typical object spans in a network's input: the size of B39's nuclei at native scale."""

N_REFINEMENT_WEIGHTS = 13
"""Weights of a border refinement: one bias and twelve features."""

BatchNorm = Literal["support", "image", "running"]
"""Which batch-norm statistics prediction uses; see `finetune.recipe.Recipe`."""


def _checked_source(source: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(source.get("name"), str):
        raise ValueError("it should have a name")
    return source


Source = Annotated[Mapping[str, Any], AfterValidator(_checked_source)]
RefinementWeights = Annotated[
    tuple[Finite, ...], Field(min_length=N_REFINEMENT_WEIGHTS, max_length=N_REFINEMENT_WEIGHTS)
]
Diameter = Annotated[float, Field(ge=1, le=2000)]
CanonicalDiameter = Annotated[float, Field(ge=4, le=200)]
"""Fine-tuning keeps the diameter between 1/4 and 8 times the canonical one."""


@dataclass(frozen=True)
class ModelCard:
    """What a model is, where its weights come from, and how prediction uses them.

    Attributes
    ----------
    name : str
    architecture : str
        A name in `registry.NETWORKS`.
    sources : tuple of dict
        The training data: name, licence and number of images of each source set.
    licence : str
        Licence of the weights.
    hyper_parameters : dict
        Settings of the meta-training or the fine-tuning, named as in its configuration.
    seed : int
    commit, command, date, machine : str
        How the weights were made, so that they can be reproduced.
    normalisation : str
        How grey values were normalised; see `data.plane.normalise`.
    canonical_diameter : float
        Pixels that a typical object spans in the network's input.
    diameter : float or None
        Pixels that a typical object spans in images of the target; None for a meta-trained start. Prediction
        scales images by canonical_diameter / diameter.
    batch_norm : {"support", "image", "running"}
        Batch-norm statistics of prediction: stored plain averages over the support set ("support"), each
        image's own ("image"), or stored exponential averages over the batches of fine-tuning ("running").
    decision_logit : float
        Logit above which a pixel is foreground: calibrated on the shots, or 0.
    contact_logit : float or None
        Logit of contact above which a pixel of the foreground is between two cells. None: touching cells are
        cut by their shape alone.
    views : int
        Number of mirror images, the image included, that prediction averages over; see
        `prediction.probability.FLIPS`.
    mix : tuple of float or None
        Weights of the colour channels in the network's input, or a single 1 or −1 for grey values; see
        `data.channel_mix.mix_channels`. None: the luma of the colours.
    refinement : tuple of float or None
        Weights of the border refinement at full resolution; see `prediction.border_refinement`. None: no
        refinement.
    k_shot : int
        Number of images in the support set; 0 for a meta-trained start.
    shots : tuple of str
        Names of these images.
    parent : str
        Name of the model that the training started from.
    notes : str
        Free text.
    score : str
        How well the model segments its own shots, in plain words; empty if not measured.
    """

    name: str
    architecture: str
    sources: tuple[Source, ...] = ()
    licence: str = ""
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    commit: str = ""
    command: str = ""
    date: Date = ""
    machine: str = ""
    normalisation: str = "percentiles 0.5 and 99.8 to [0, 1], then (x - 0.5) / 0.5"
    canonical_diameter: CanonicalDiameter = CANONICAL_DIAMETER
    diameter: Diameter | None = None
    batch_norm: BatchNorm = "support"
    decision_logit: Finite = 0.0
    contact_logit: Finite | None = None
    views: Annotated[int, Field(ge=1, le=4)] = 1
    mix: Annotated[tuple[Finite, ...], Field(min_length=1)] | None = None
    refinement: RefinementWeights | None = None
    k_shot: Count = 0
    shots: tuple[str, ...] = ()
    parent: str = ""
    notes: str = ""
    score: str = ""

    @property
    def factor(self) -> float:
        """Factor by which prediction scales images; 1 if the object size is unknown."""
        return 1.0 if self.diameter is None else self.canonical_diameter / self.diameter


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its card. Functions that change a model return a new one."""

    card: ModelCard
    network: SegmentationNetwork

    def renamed(self, name: str) -> Model:
        """The same model under another name."""
        return replace(self, card=replace(self.card, name=name))


def weights_sha256(model: Model) -> str:
    """A fingerprint of a model's weights, independent of the card's name and score."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
