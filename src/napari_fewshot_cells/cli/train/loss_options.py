"""Options of a training that follow from the terms of its loss: the weight and the variant of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any

import typer

from ...training.loss_terms import LOSS_TERMS


def with_loss_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `losses` of a command by these options; it gets their values by name.

    The options are named like the fields of `ReptileConfig`.
    """
    options = [*_weights(), *_variants()]
    signature = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        parameters += options if parameter.name == "losses" else [parameter]

    @wraps(command)
    def with_losses(**given: Any) -> None:
        values = {option.name: given.pop(option.name) for option in options}
        plain = {name: v.value if isinstance(v, StrEnum) else v for name, v in values.items()}
        command(**given, losses=plain)

    with_losses.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return with_losses


def _weights() -> list[inspect.Parameter]:
    return [
        _option(
            term.weight_name,
            Annotated[float, typer.Option(min=0, help=f"Weight of {term.symbol} ({term.meaning}).")],
            term.weight,
        )
        for term in LOSS_TERMS.values()
    ]


def _variants() -> list[inspect.Parameter]:
    options = []
    for name, term in LOSS_TERMS.items():
        if term.variants:
            choices = StrEnum(name, {variant: variant for variant in term.variants})  # type: ignore[misc]
            kind = Annotated[choices, typer.Option(help=term.variants_help)]
            options.append(_option(name, kind, choices(term.variants[0])))
    return options


def _option(name: str, kind: object, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
