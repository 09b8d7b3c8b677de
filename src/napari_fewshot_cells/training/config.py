"""The hyper-parameters of meta-training and of transfer learning, named as in the paper.

No torch here: a command line and a schedule check them before anything slow is loaded.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, make_dataclass
from typing import Any, Literal

from ..base.errors import DataError, FewShotError
from .loss_terms import LOSS_TERMS, LossTerm

MODEL_FILE = "model.safetensors"
"""In the folder of a training."""


@dataclass(frozen=True)
class EpisodeShape:
    """The size of an episode.

    Attributes
    ----------
    k_shot : int
        Images drawn from each of the three sets.
    inner_steps : int
    crops, other_crops : int
        Crops of S̃_m, and of S̃_n and S̃_p each, in one step.
    crop_size : int
    scale_jitter : float
        An image is fed at its canonical scale times a factor between 1 / scale_jitter and scale_jitter.
    mix : bool
        If True, show each set in the mix of its channels in which its objects are bright, as fine-tuning
        does. If False, show grey values, as in the paper.
    rescale : bool
        If True, bring objects to the canonical diameter first. If False, keep native scale, as in the paper.
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
"""A weight for each term of the loss, and which of its variants."""


@dataclass(frozen=True)
class ReptileConfig(_LossFields):  # type: ignore[misc]
    """Hyper-parameters, named as in the paper, and switches; the defaults of the switches are the paper's.

    Attributes
    ----------
    alpha, beta, … : float
        Weights of L_ER (Eq. 4), L_D (Eq. 5), and of what else is in `LOSS_TERMS`.
    entropy : {"printed", "full"}
        L_ER as printed, of the foreground alone, or the full binary entropy.
    distillation : {"pairwise", "matched"}
        L_D over all pairs of images, as printed, or of image i with image i, as in the authors' code; that
        needs as many crops of S̃_p as of S̃_m.
    meta_lr : float
        ε of Eq. 2.
    lr, weight_decay : float
        Of Adam in the inner loop.
    episode : EpisodeShape
    seed : int
    allow_same : bool
        n = p is allowed.
    anneal : bool
        ε falls linearly to 0 over the run's budget.

    Raises
    ------
    FewShotError
        Matched distillation with different numbers of crops.
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
                    f"{term.paired.capitalize()} {name} pairs crop with crop, but there are {crops} of S̃_m "
                    f"and {others} of S̃_{term.sets[-1]} in a step; make --crops and --other-crops the same."
                )

    @property
    def terms(self) -> dict[str, LossTerm]:
        """The terms that are on, by name."""
        return {name: term for name, term in LOSS_TERMS.items() if self.weight(name)}

    @property
    def others(self) -> list[str]:
        """Which of S̃_n and S̃_p these look at, in this order."""
        return sorted({letter for term in self.terms.values() for letter in term.sets} - {"m"})

    def weight(self, name: str) -> float:
        """α of "entropy", β of "distillation", and so on."""
        return float(getattr(self, LOSS_TERMS[name].weight_name))

    def variant(self, name: str) -> str | None:
        """Which variant of a term; None if it has none."""
        return getattr(self, name) if LOSS_TERMS[name].variants else None

    def epsilon(self, share: float) -> float:
        """ε of Eq. 2 when this share of the budget, 0 to 1, is spent."""
        return self.meta_lr * (1 - share) if self.anneal else self.meta_lr

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for cards and tables."""
        flat = asdict(self)
        return {**flat.pop("episode"), **flat}


def check_sources(config: ReptileConfig, n_sources: int) -> None:
    """Some terms look at other domains than S_m; make sure that there are enough.

    Raises
    ------
    DataError
        Too few source sets for the terms that are on.
    """
    if config.others and n_sources < 2:
        off = {term.weight_name: term.symbol for term in config.terms.values() if term.sets != ("m",)}
        raise DataError(
            f"With {' and '.join(off.values())} at least two source sets are needed; "
            f"give more, or {' and '.join(off)} 0."
        )
    if len(config.others) > 1 and not config.allow_same and n_sources < 3:
        raise DataError(
            "Two distinct other domains need at least three source sets; give more, or let n = p."
        )


@dataclass(frozen=True)
class TransferConfig:
    """Hyper-parameters, named as in the paper.

    Attributes
    ----------
    lr, weight_decay : float
        Of Adam.
    batch : int
        Crops in a step.
    crop_size : int
    stride : int or None
        None: crops at random places of randomly chosen images, augmented as in meta-training. Otherwise the
        windows at this stride in pixels, unchanged and each once an epoch, as in the paper; `scale_jitter` is
        then unused.
    min_foreground : int
        Windows with fewer foreground pixels are dropped; only with a stride.
    scale_jitter : float
        An image is fed at its canonical scale times a factor between 1 / scale_jitter and scale_jitter.
    mix : bool
        As in `EpisodeShape`.
    rescale : bool
        If True, bring objects to the canonical diameter first. If False, keep native scale, as in the paper.
    by_set : bool
        If True, the crops of a step come from one source set, and the sets take turns, however many images
        they have. If False, all images are shuffled together, as in the paper. Only without a stride.
    balance : float
        Power of w in L_BCE, as in `recipe.Recipe`; 1 is the paper's.
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
            raise FewShotError("Windows of a stride are shuffled together; leave out --by-set or --stride.")

    def lr_at(self, share: float) -> float:
        """Adam's learning rate when this share of the budget, 0 to 1, is spent."""
        from ..finetune.training_loop import half_cosine

        return self.lr * half_cosine(share) if self.anneal else self.lr

    def as_dict(self) -> dict[str, Any]:
        """Plain values that took part, for cards and tables."""
        idle = {"min_foreground" if self.stride is None else "scale_jitter"}
        switches = ("by_set", "balance", "anneal")  # not the paper's; an older run knows none of them
        idle.update(name for name in switches if getattr(self, name) == getattr(TransferConfig, name))
        return {key: value for key, value in asdict(self).items() if key not in idle}
