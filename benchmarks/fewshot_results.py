"""Results of the comparison, read for the report and the curve."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fewshot_methods import variants

STANDARD = {variant.method: variant.setting for variant in variants()}
"""The standard setting of each method."""


@dataclass(frozen=True)
class Result:
    """One fitting and its test; see `fewshot.COLUMNS`. AP is None if the target has no instances."""

    target: str
    annotation: str
    k_shot: int
    selection: int
    method: str
    setting: str
    iou: float
    ap50: float | None
    seconds: float
    fit_seconds: float
    n_test: int
    commit: str
    date: str
    machine: str


def read_results(path: Path) -> list[Result]:
    """All results in a file."""
    with path.open(newline="") as file:
        return [
            Result(
                row["target"], row["annotation"], int(row["k_shot"]), int(row["selection"]), row["method"],
                row["setting"], float(row["iou"]), float(row["ap50"]) if row["ap50"] else None,
                float(row["seconds"]), float(row["fit_seconds"]), int(row["n_test"]), row["commit"],
                row["date"], row["machine"],
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


def of(
    results: Sequence[Result], method: str, target: str, k_shot: int, annotation: str = "whole"
) -> dict[int, Result]:
    """Results of a method with its standard setting, by selection."""
    wanted = (method, STANDARD[method], target, k_shot, annotation)
    return {
        r.selection: r for r in results if (r.method, r.setting, r.target, r.k_shot, r.annotation) == wanted
    }


def differences(a: dict[int, Result], b: dict[int, Result]) -> list[float]:
    """IoU of a minus IoU of b, on each selection that both have."""
    return [a[s].iou - b[s].iou for s in sorted(a.keys() & b.keys())]
