"""The methods that the experiment compares. No torch here: a command line checks their names at once."""

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
        For tables and figures.
    weights : mapping of str to float
        Of the terms of the loss beside L_BCE; those that are not named are off.
    meta_trains : bool
        Else it is transfer learning.
    """

    label: str
    weights: Mapping[str, float] = field(default_factory=dict)
    meta_trains: bool = True

    @property
    def all_weights(self) -> dict[str, float]:
        """The weight of every term, by its name, in their order."""
        return dict.fromkeys(weight_names(), 0.0) | dict(self.weights)

    def trains_with(self, weights: Mapping[str, float]) -> bool:
        """Whether these are its weights; a term that is not named, as in an older card, is off."""
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
