"""The terms of the loss beside L_BCE: to add one is one entry in `LOSS_TERMS` and its function.

Algorithm 1 minimises L_BCE(θ, S̃_m) + α L_ER(θ, S̃_n) + β L_D(θ, S̃_m, S̃_p). From an entry follow the options
of ``napari-fewshot-train meta``, the fields of `ReptileConfig`, a column of the learning curves, the words of
the card, and the method "complete" of the experiment. The functions import torch, the list does not.

An entry that is made elsewhere must be made before `training.config` is imported, which reads the list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Output:
    """What the network makes of the crops of one set in an inner step.

    Attributes
    ----------
    logits : Tensor, float32, (N, 1, H, W)
    latent : Tensor, float32, (N, C, h, w)
        The deepest feature map.
    target, weight : Tensor, float32, (N, 1, H, W), or None
        Foreground and annotated, 0 or 1; of S̃_m alone, whose masks are used.
    """

    logits: Tensor
    latent: Tensor
    target: Tensor | None = None
    weight: Tensor | None = None


@dataclass(frozen=True)
class LossTerm:
    """One term of the loss.

    Attributes
    ----------
    symbol : str
        As in the paper.
    function : callable
        Takes an `Output` for each of `sets`, and `variant` by keyword if there are any; returns a scalar.
    sets : tuple of {"m", "n", "p"}
        Which of S̃_m, S̃_n and S̃_p it looks at, in the order of the function's parameters. A set that no term
        with a weight looks at is neither drawn nor passed through the network.
    weight_name : str
        Of the option and the field that weigh it.
    weight : float
        In the complete loss, and by default.
    meaning : str
        Where it is defined or what it is, for the help.
    variants : tuple of str
        The first is the default. The option and the field that choose among them have the term's own name.
    variants_help : str
    paired : str
        The variant that pairs crop i of one set with crop i of another, and so needs as many of each.
    """

    symbol: str
    function: Callable[..., Tensor]
    sets: tuple[Literal["m", "n", "p"], ...]
    weight_name: str
    weight: float
    meaning: str
    variants: tuple[str, ...] = ()
    variants_help: str = ""
    paired: str = ""

    def __call__(self, outputs: Mapping[str, Output], variant: str | None) -> Tensor:
        """The term for what the network made of the sets, by their letters."""
        chosen = {"variant": variant} if self.variants else {}
        return self.function(*(outputs[name] for name in self.sets), **chosen)


def _entropy(s_n: Output, variant: str) -> Tensor:
    from ..models.losses import entropy_regularisation

    return entropy_regularisation(s_n.logits, full=variant == "full")


def _distillation(s_m: Output, s_p: Output, variant: str) -> Tensor:
    from ..models.losses import distillation

    return distillation(s_m.latent, s_p.latent, matched=variant == "matched")


LOSS_TERMS: dict[str, LossTerm] = {
    "entropy": LossTerm(
        "L_ER",
        _entropy,
        sets=("n",),
        weight_name="alpha",
        weight=0.01,
        meaning="Eq. 4",
        variants=("printed", "full"),
        variants_help="L_ER as printed in Eq. 4 or full.",
    ),
    "distillation": LossTerm(
        "L_D",
        _distillation,
        sets=("m", "p"),
        weight_name="beta",
        weight=0.01,
        meaning="Eq. 5",
        variants=("pairwise", "matched"),
        variants_help="L_D over all pairs as in Eq. 5, or crop i with crop i.",
        paired="matched",
    ),
}
"""By the name of the curves' column. They are added up in this order, which decides how sums round."""


def weight_names() -> tuple[str, ...]:
    """Of all terms, in their order."""
    return tuple(term.weight_name for term in LOSS_TERMS.values())
