"""JSON from a file against the frozen dataclass that says what it may hold: types and bounds."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

T = TypeVar("T")


def _checked_date(text: str) -> str:
    try:
        if text:
            datetime.fromisoformat(text).astimezone()
    except (
        ValueError,
        OverflowError,
        OSError,
    ) as error:  # the last two: beyond what the system's clock knows
        raise ValueError("it is no date in ISO 8601") from error
    return text


Count = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
"""A number that is finite in float32 too."""
Date = Annotated[str, AfterValidator(_checked_date)]
"""ISO 8601, or empty."""

_PLAIN = {
    "Value error, ": "",
    "Input should": "it should",
    "String should": "it should",
    "Tuple should": "it should",
    " after validation": "",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid array": "a list",
    "an object": "names with values",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}  # of pydantic's messages


@dataclass(frozen=True)
class Fault:
    """One value that cannot be used.

    Attributes
    ----------
    place : tuple of str or int
        Names and positions that lead to it; empty for all that was given.
    fault : str
        "is missing", or "cannot be" with the value.
    reason : str
        What is expected; empty if `fault` says it all.
    """

    place: tuple[str | int, ...]
    fault: str
    reason: str = ""

    @property
    def field(self) -> str:
        """The place as one writes it: ``labels[0].shape``."""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.place)
        return "".join(parts).removeprefix(".")

    def __str__(self) -> str:
        text = f"{self.field} {self.fault}".strip() + (f": {self.reason}" if self.reason else "")
        return " ".join(text.split())  # a name in a stranger's file may hold line breaks


class InvalidError(ValueError):
    """JSON that cannot be used; the message, one line, is the first of its `faults`."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(str(faults[0]))
        self.faults = tuple(faults)


def parse_json(content: str | bytes, *, allow_nan: bool = True) -> Any:
    """Plain values from JSON, nested at most 200 deep; raises `InvalidError`."""
    try:
        return from_json(
            content if isinstance(content, str) else content.removeprefix(codecs.BOM_UTF8),
            allow_inf_nan=allow_nan,
        )
    except ValueError as error:
        raise InvalidError([Fault((), "no JSON", str(error))]) from error


def validated(of_type: type[T], values: object) -> T:
    """Plain values as a dataclass.

    Parameters
    ----------
    of_type : type
        A dataclass; bounds are `pydantic.Field` in the annotations. Keys that it does not have are ignored.
    values : object
        What `parse_json` returns. Nothing is converted, except lists to tuples and whole numbers to floats.

    Raises
    ------
    InvalidError
        A key is missing, a value has another type or is out of bounds.
    """
    try:
        # as JSON: there strict means whole numbers for int, but 1 for 1.0 is fine
        adapter = _adapter(of_type)  # type: ignore[arg-type]  # mypy does not see that a class has a hash
        found: T = adapter.validate_json(to_json(values), strict=True)
    except ValidationError as error:
        raise InvalidError([_fault(dict(details)) for details in error.errors(include_url=False)]) from error
    return found


@cache
def _adapter(of_type: type) -> TypeAdapter[Any]:
    return TypeAdapter(of_type)  # takes milliseconds: not before a file of this kind is read


def _fault(details: dict[str, Any]) -> Fault:
    place, value, reason = details["loc"], details["input"], details["msg"]
    if details["type"] == "missing":
        return Fault(place, "is missing")
    for theirs, plain in _PLAIN.items():
        reason = reason.replace(theirs, plain)
    return Fault(place, "cannot be null" if value is None else f"cannot be {value!r:.40}", reason)
