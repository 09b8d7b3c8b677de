"""A generator that passes on the steps of another."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial

import pytest

from napari_fewshot_cells.base.progress import Progress, finish, relay

STEPS = [Progress("counting", done, 3, 0.5, loss=done / 2) for done in range(3)]


def counting(closed: list[str]) -> Generator[Progress, None, str]:
    """Three steps and a result."""
    try:
        yield from STEPS
        return "counted"
    finally:
        closed.append("closed")


def test_steps_come_renamed_and_in_order_and_the_result_is_returned() -> None:
    told: list[Progress] = []

    def outer() -> Generator[Progress, None, str]:
        return (yield from relay(counting([]), partial(replace, stage="looking")))

    def listened() -> Generator[None, None, str]:
        return (yield from relay(outer(), told.append))

    assert finish(listened()) == "counted"
    assert told == [replace(step, stage="looking") for step in STEPS]


def test_closing_it_closes_the_inner_generator() -> None:
    closed: list[str] = []
    inner = counting(closed)  # held, so that it is not the garbage collector that closes it
    steps = relay(inner, lambda step: step.done)
    assert next(steps) == 0
    assert closed == []
    steps.close()
    assert closed == ["closed"]


def test_a_fault_in_the_renaming_closes_the_inner_generator() -> None:
    closed: list[str] = []
    inner = counting(closed)
    with pytest.raises(ZeroDivisionError):
        next(relay(inner, lambda step: step.total / step.done))
    assert closed == ["closed"]


def test_faults_of_the_inner_generator_pass_through() -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        raise ValueError("no more")

    steps = relay(failing(), str)
    assert next(steps) == "1"
    with pytest.raises(ValueError, match="no more"):
        next(steps)
