"""The hyper-parameters of meta-training, transfer learning and contact training, named as in the paper.

This module needs no torch: commands and schedules check the values before they load anything slow.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, make_dataclass
from typing import Any, Literal

from ..base.errors import DataError, FewShotError
from .loss_terms import LOSS_TERMS, LossTerm

MODEL_FILE = "model.safetensors"
"""Name of the model in the folder of a training."""


@dataclass(frozen=True)
class EpisodeShape:
    """The size of an episode.

    Attributes
    ----------
    k_shot : int
        Images drawn for each of the three sets.
    inner_steps : int
    crops, other_crops : int
        Crops per step: of S̃_m, and of each of S̃_n and S̃_p.
    crop_size : int
    scale_jitter : float
        The scale of an image is multiplied by a factor between 1 / scale_jitter and scale_jitter.
    mix : bool
        If True, feed each set in the mix of its channels in which its objects are bright, as fine-tuning
        does. If False, feed grey values, as in the paper.
    rescale : bool
        If True, rescale objects to the canonical diameter. If False, keep native scale, as in the paper.
    """

    k_shot: int = 5
    inner_steps: int = 8
    crops: int = 5
    other_crops: int = 1
    crop_size: int = 96
    scale_jitter: float = 1.25
    mix: bool = True
    rescale: bool = True


_LossFields: Any = make_dataclass(
    "_LossFields",
    [
        *((term.weight_name, float, field(default=term.weight)) for term in LOSS_TERMS.values()),
        *(
            (name, Literal[term.variants], field(default=term.variants[0], kw_only=True))
            for name, term in LOSS_TERMS.items()
            if term.variants
        ),
    ],
    frozen=True,
)
"""Fields for the weight and the variant of each loss term."""


@dataclass(frozen=True)
class ReptileConfig(_LossFields):  # type: ignore[misc]
    """Hyper-parameters of meta-training, named as in the paper, and switches with the paper's defaults.

    Attributes
    ----------
    alpha, beta, … : float
        Weights of L_ER (Eq. 4), L_D (Eq. 5), and any other terms in `LOSS_TERMS`.
    entropy : {"printed", "full"}
        L_ER of the foreground alone, as printed, or the full binary entropy.
    distillation : {"pairwise", "matched"}
        L_D over all pairs of images, as printed, or of image i with image i, as in the authors' code. The
        second needs as many crops of S̃_p as of S̃_m.
    meta_lr : float
        ε of Eq. 2.
    lr, weight_decay : float
        Learning rate and weight decay of Adam in the inner loop.
    episode : EpisodeShape
    seed : int
    allow_same : bool
        If True, S̃_n and S̃_p may be of the same domain.
    anneal : bool
        If True, ε falls linearly to 0 over the run's budget.

    Raises
    ------
    FewShotError
        Distillation is matched, but the numbers of crops differ.
    """

    meta_lr: float = 1.0
    lr: float = 1e-3
    weight_decay: float = 5e-4
    episode: EpisodeShape = field(default_factory=EpisodeShape)
    seed: int = 0
    allow_same: bool = True
    anneal: bool = False

    def __post_init__(self) -> None:
        crops, others = self.episode.crops, self.episode.other_crops
        for name, term in self.terms.items():
            if term.paired and self.variant(name) == term.paired and crops != others:
                raise FewShotError(
                    f"{term.paired.capitalize()} {name} pairs crop with crop, but a step has {crops} of S̃_m "
                    f"and {others} of S̃_{term.sets[-1]}; make --crops and --other-crops equal."
                )

    @property
    def terms(self) -> dict[str, LossTerm]:
        """The terms with a weight, by name."""
        return {name: term for name, term in LOSS_TERMS.items() if self.weight(name)}

    @property
    def others(self) -> list[str]:
        """Which of S̃_n and S̃_p these terms need, in this order."""
        return sorted({letter for term in self.terms.values() for letter in term.sets} - {"m"})

    def weight(self, name: str) -> float:
        """Weight of a term: α of "entropy", β of "distillation", and so on."""
        return float(getattr(self, LOSS_TERMS[name].weight_name))

    def variant(self, name: str) -> str | None:
        """Variant of a term; None if the term has no variants."""
        return getattr(self, name) if LOSS_TERMS[name].variants else None

    def epsilon(self, share: float) -> float:
        """ε of Eq. 2 after this share of the budget, 0 to 1."""
        return self.meta_lr * (1 - share) if self.anneal else self.meta_lr

    def as_dict(self) -> dict[str, Any]:
        """Plain values for cards and tables."""
        flat = asdict(self)
        return {**flat.pop("episode"), **flat}


def check_sources(config: ReptileConfig, n_sources: int) -> None:
    """Check that there are enough source sets for the terms that need other domains than S_m.

    Raises
    ------
    DataError
        There are too few source sets for the terms with a weight.
    """
    if config.others and n_sources < 2:
        off = {term.weight_name: term.symbol for term in config.terms.values() if term.sets != ("m",)}
        raise DataError(
            f"With {' and '.join(off.values())}, at least two source sets are needed; "
            f"give more sets, or set {' and '.join(off)} to 0."
        )
    if len(config.others) > 1 and not config.allow_same and n_sources < 3:
        raise DataError(
            "Two distinct other domains need at least three source sets; give more sets, or allow n = p."
        )


@dataclass(frozen=True)
class TransferConfig:
    """Hyper-parameters of transfer learning, named as in the paper.

    Attributes
    ----------
    lr, weight_decay : float
        Learning rate and weight decay of Adam.
    batch : int
        Crops per step.
    crop_size : int
    stride : int or None
        If None, crops come from random places of random images, augmented as in meta-training. Otherwise they
        are the windows at this stride in pixels, unchanged and once an epoch each, as in the paper, and
        `scale_jitter` is unused.
    min_foreground : int
        Windows with fewer foreground pixels are dropped; used only with a stride.
    scale_jitter : float
        The scale of an image is multiplied by a factor between 1 / scale_jitter and scale_jitter.
    mix : bool
        As in `EpisodeShape`.
    rescale : bool
        If True, rescale objects to the canonical diameter. If False, keep native scale, as in the paper.
    by_set : bool
        If True, the crops of a step come from one source set, and the sets take turns, whatever their number
        of images. If False, all images are shuffled together, as in the paper. Allowed only without a stride.
    balance : float
        Power of w in L_BCE, as in `finetune.recipe.Recipe`; 1 as in the paper.
    anneal : bool
        If True, the learning rate falls to 0 along half a cosine over the run's budget.
    seed : int
    """

    lr: float = 1e-3
    weight_decay: float = 5e-4
    batch: int = 64
    crop_size: int = 256
    stride: int | None = None
    min_foreground: int = 360
    scale_jitter: float = 1.25
    mix: bool = True
    rescale: bool = True
    by_set: bool = False
    balance: float = 1.0
    anneal: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by_set and self.stride is not None:
            raise FewShotError(
                "With --stride, windows of all sets are shuffled together; leave out --by-set or --stride."
            )

    def lr_at(self, share: float) -> float:
        """Adam's learning rate after this share of the budget, 0 to 1."""
        from ..finetune.training_loop import half_cosine

        return self.lr * half_cosine(share) if self.anneal else self.lr

    def as_dict(self) -> dict[str, Any]:
        """Plain values of the settings in use, for cards and tables."""
        idle = {"min_foreground" if self.stride is None else "scale_jitter"}
        switches = ("by_set", "balance", "anneal")  # not in the paper; older runs lack them
        idle.update(name for name in switches if getattr(self, name) == getattr(TransferConfig, name))
        return {key: value for key, value in asdict(self).items() if key not in idle}


@dataclass(frozen=True)
class ContactConfig:
    """Hyper-parameters of the training of a start's contact output; see `training.contacts`.

    Attributes
    ----------
    lr, weight_decay : float
        Learning rate and weight decay of Adam. The rate rises over the first `warm_up` steps and falls to 0
        along half a cosine over the budget.
    warm_up : int
        Steps.
    batch : int
        Crops per step, all of one set.
    crop_size : int
    scale_jitter : float
        The scale of a crop is multiplied by a factor between 1 / scale_jitter and scale_jitter.
    images : int
        At most so many images of a set are read.
    seed : int
    """

    lr: float = 1e-2
    weight_decay: float = 5e-4
    warm_up: int = 200
    batch: int = 6
    crop_size: int = 96
    scale_jitter: float = 1.25
    images: int = 24
    seed: int = 0

    def lr_at(self, step: int, share: float) -> float:
        """Adam's learning rate in a step, counted from 0, after this share of the budget, 0 to 1."""
        from ..finetune.training_loop import half_cosine

        return self.lr * min(1.0, 0.05 + step / self.warm_up) * half_cosine(share)
