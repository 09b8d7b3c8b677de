"""A model is a network and its card: everything that is needed to use, cite and repeat it.

On disk a model is ``NAME.safetensors`` with the card in the file's header, so that a single file is complete,
and ``NAME.json``, the same card for people to read. Safetensors can hold no code, unlike pickles.
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
"""Pixels that a typical object spans when the networks see it; B39's nuclei at their own resolution."""

N_WEIGHTS = 13
"""One bias and twelve features."""

BatchNorm = Literal["support", "image", "running"]
"""Whose statistics prediction uses; see `recipe.Recipe`."""


def _checked_source(source: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(source.get("name"), str):
        raise ValueError("it should have a name")
    return source


Source = Annotated[Mapping[str, Any], AfterValidator(_checked_source)]
Diameter = Annotated[float, Field(ge=1, le=2000)]
CanonicalDiameter = Annotated[float, Field(ge=4, le=200)]
"""Fine-tuning keeps the diameter within 1/4 and 8 times this one."""


@dataclass(frozen=True)
class ModelCard:
    """What is known about a model's weights.

    Attributes
    ----------
    name : str
    architecture : str
        One of `registry.NETWORKS`.
    sources : tuple of dict
        Training data: name, licence, images.
    licence : str
        Of the weights.
    hyper_parameters : dict
        Of the meta-training or of the fine-tuning, as its configuration names them.
    seed : int
    commit, command, date, machine : str
        Where the weights come from, so that they can be made again.
    normalisation : str
        How grey values were brought to the network; see `images.normalise`.
    canonical_diameter : float
        Pixels that a typical object spans at the scale that the network sees.
    diameter : float or None
        Pixels that a typical object spans in the images of the target; None for a meta-trained start. The
        ratio of the two is the scale of prediction.
    batch_norm : {"support", "image", "running"}
        Whose statistics are used in prediction: the stored ones, plain averages over the support set or
        exponential ones over the batches of fine-tuning, or each image's own.
    decision_logit : float
        Logit above which a pixel is foreground; calibrated on the shots, 0 otherwise.
    views : int
        Prediction is the mean over the image and its mirror images, so many in all; see `prediction.FLIPS`.
    mix : tuple of float or None
        Weights of the colour channels in what the network sees, or a single 1 or −1 for grey values; see
        `channel_mix.mix_channels`. None: grey values as the eye sees them.
    refinement : tuple of float or None
        What prediction does at full resolution; see `refinement`. None: nothing.
    k_shot : int
        Images that it was fine-tuned on; 0 for a meta-trained start.
    shots : tuple of str
        Their names.
    parent : str
        The model that fine-tuning began with.
    notes : str
    score : str
        How well it does on its own annotations, in plain words; empty where nobody has measured it.
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
    views: Annotated[int, Field(ge=1, le=4)] = 1
    mix: Annotated[tuple[Finite, ...], Field(min_length=1)] | None = None
    refinement: Annotated[tuple[Finite, ...], Field(min_length=N_WEIGHTS, max_length=N_WEIGHTS)] | None = None
    k_shot: Count = 0
    shots: tuple[str, ...] = ()
    parent: str = ""
    notes: str = ""
    score: str = ""

    @property
    def factor(self) -> float:
        """Scale at which images are fed to the network; 1 where the object size is not known."""
        return 1.0 if self.diameter is None else self.canonical_diameter / self.diameter


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its card. Functions that adapt a model return a new one."""

    card: ModelCard
    network: SegmentationNetwork

    def renamed(self, name: str) -> Model:
        """The same model under another name."""
        return replace(self, card=replace(self.card, name=name))


def weights_sha256(model: Model) -> str:
    """A fingerprint of a model's weights; it stays when the card gets another name or a score."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
