"""The terms of the loss besides L_BCE. A new term takes one entry in `LOSS_TERMS` and its function.

Algorithm 1 minimises L_BCE(θ, S̃_m) + α L_ER(θ, S̃_n) + β L_D(θ, S̃_m, S̃_p). The options of
``napari-fewshot-train meta``, the fields of `ReptileConfig`, a column of the learning curves, the text of the
card, and the method "complete" of the experiment all follow from an entry. The functions import torch; the
list does not.

`training.config` reads the list on import, so entries from other modules must be added before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Output:
    """Output of the network for the crops of one set in an inner step, with their targets.

    Attributes
    ----------
    logits : Tensor, float32, (N, 1, H, W)
    latent : Tensor, float32, (N, C, h, w)
        The deepest feature map.
    target, weight : Tensor, float32, (N, 1, H, W), or None
        Whether a pixel is foreground, and whether it is annotated; 0 or 1. Only S̃_m has them: only its masks
        are used.
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
        Its symbol in the paper.
    function : callable
        Takes an `Output` for each of `sets`, and the keyword `variant` if there are any; returns a scalar.
    sets : tuple of {"m", "n", "p"}
        Which of S̃_m, S̃_n and S̃_p the term needs, in the order of the function's parameters. A set that no
        weighted term needs is neither drawn nor passed through the network.
    weight_name : str
        Name of its option and its field.
    weight : float
        Its weight in the complete loss, and by default.
    meaning : str
        Its equation or its meaning, for help texts.
    variants : tuple of str
        The first is the default. Their option and their field have the name of the term.
    variants_help : str
        Help text of that option.
    paired : str
        The variant that pairs crop i of one set with crop i of another, which needs as many crops of each.
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
        """Compute the term from the outputs of the sets, by their letters."""
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
        variants_help="L_ER of the foreground, as printed in Eq. 4, or full.",
    ),
    "distillation": LossTerm(
        "L_D",
        _distillation,
        sets=("m", "p"),
        weight_name="beta",
        weight=0.01,
        meaning="Eq. 5",
        variants=("pairwise", "matched"),
        variants_help="L_D over all pairs, as in Eq. 5, or of crop i with crop i.",
        paired="matched",
    ),
}
"""The terms by their column in the curves. They are summed in this order, which decides the rounding."""


def weight_names() -> tuple[str, ...]:
    """The weight names of all terms, in their order."""
    return tuple(term.weight_name for term in LOSS_TERMS.values())
