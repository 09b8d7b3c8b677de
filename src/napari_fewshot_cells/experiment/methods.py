"""The methods that the experiment compares, without torch: commands check their names at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..training.loss_terms import LOSS_TERMS, weight_names


@dataclass(frozen=True)
class Method:
    """How a start is trained.

    Attributes
    ----------
    label : str
        Name in tables and figures.
    weights : mapping of str to float
        Weights of the loss terms besides L_BCE; a missing term has weight 0.
    meta_trains : bool
        If False, the method is transfer learning.
    """

    label: str
    weights: Mapping[str, float] = field(default_factory=dict)
    meta_trains: bool = True

    @property
    def all_weights(self) -> dict[str, float]:
        """The weight of every term by the weight's name, in the order of the terms."""
        return dict.fromkeys(weight_names(), 0.0) | dict(self.weights)

    def trains_with(self, weights: Mapping[str, float]) -> bool:
        """Whether these are the method's weights; a missing term, as in an older card, has weight 0."""
        return self.meta_trains and self.all_weights == dict.fromkeys(weight_names(), 0.0) | dict(weights)


METHODS: dict[str, Method] = {
    "transfer": Method("transfer learning", meta_trains=False),
    "bce": Method("L_BCE"),
    "bce+er": Method("L_BCE + L_ER", {"alpha": 0.1}),
    "bce+d": Method("L_BCE + L_D", {"beta": 0.01}),
    "complete": Method("complete loss", {term.weight_name: term.weight for term in LOSS_TERMS.values()}),
}
"""The five that the paper compares, in the order of its figures."""

META_TRAINED: dict[str, Method] = {name: method for name, method in METHODS.items() if method.meta_trains}
"""The methods that meta-train."""
