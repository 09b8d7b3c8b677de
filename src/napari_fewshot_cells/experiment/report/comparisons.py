"""Means, spreads and paired differences of the results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from .results import FineTuning

Measure = Literal["iou", "plain_iou"]
"""IoU at the calibrated threshold, or at 0.5."""

Condition = Mapping[str, object]
"""Fields of a row and their required values."""

Unit = tuple[str, int, int]
"""Target, selection, seed: they are drawn independently, so n counts them."""

_MATCHED = ("schedule", "arch", "target", "method", "k_shot", "selection", "seed")


@dataclass(frozen=True)
class Spread:
    """Summary statistics of some numbers.

    Attributes
    ----------
    mean : float
    sd : float
        Standard deviation with n − 1; NaN for a single number.
    n : int
    low, high : float
        Limits of the 95 % interval of the mean, by Student's t; NaN for a single number.
    """

    mean: float
    sd: float
    n: int
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread | None:
    """Mean, standard deviation and interval; None if there are no values."""
    numbers = np.fromiter(values, float)
    n = len(numbers)
    if n == 0:
        return None
    mean = float(numbers.mean())
    if n == 1:
        return Spread(mean, np.nan, n, np.nan, np.nan)
    sd = float(numbers.std(ddof=1))
    half = float(stdtrit(n - 1, 0.975)) * sd / np.sqrt(n)
    return Spread(mean, sd, n, mean - half, mean + half)


def rows_with(rows: Iterable[FineTuning], **condition: object) -> list[FineTuning]:
    """The rows whose fields have these values."""
    names, wanted = tuple(condition), tuple(condition.values())
    return [row for row in rows if tuple(getattr(row, name) for name in names) == wanted]


def paired_ious(
    rows: Iterable[FineTuning], conditions: Sequence[Condition], measure: Measure = "iou"
) -> dict[Unit, NDArray[np.float64]]:
    """The IoUs under several conditions, on the same selections of the same targets.

    Rows that differ only in the conditions form a group. A group that lacks a condition is left out. The
    groups of a selection, for instance its K or its methods, are averaged, because they share images: each
    selection counts once.

    Parameters
    ----------
    rows : iterable of FineTuning
    conditions : sequence of mapping
        All with the same fields.
    measure : str

    Returns
    -------
    dict of (len(conditions),) float
        By (target, selection, seed).

    Examples
    --------
    ``paired_ious(rows, [{"method": "complete"}, {"method": "transfer"}])``
    """
    names = tuple(conditions[0])
    side = {tuple(condition[name] for name in names): i for i, condition in enumerate(conditions)}
    left_open = tuple(name for name in _MATCHED if name not in names)
    groups: dict[tuple[object, ...], dict[int, FineTuning]] = defaultdict(dict)
    for row in rows:
        i = side.get(tuple(getattr(row, name) for name in names))
        if i is not None:
            groups[tuple(getattr(row, name) for name in left_open)][i] = row
    found: dict[Unit, list[list[float]]] = defaultdict(list)
    for group in groups.values():
        if len(group) == len(conditions):
            unit = group[0].target, group[0].selection, group[0].seed
            found[unit].append([getattr(group[i], measure) for i in range(len(conditions))])
    return {unit: np.mean(values, axis=0) for unit, values in found.items()}


def paired_differences(
    rows: Iterable[FineTuning], a: Condition, b: Condition, measure: Measure = "iou"
) -> dict[Unit, float]:
    """IoU under condition `a` minus IoU under condition `b`, for each selection; see `paired_ious`."""
    return {unit: float(x - y) for unit, (x, y) in paired_ious(rows, [a, b], measure).items()}


@dataclass(frozen=True)
class Summary:
    """The fine-tunings of one bar of a figure: same schedule, network, target, method and K.

    Attributes
    ----------
    schedule, arch, target, method : str
    k_shot : int
    iou, plain_iou : Spread
        Over the selections.
    rows : tuple of FineTuning
    """

    schedule: str
    arch: str
    target: str
    method: str
    k_shot: int
    iou: Spread
    plain_iou: Spread
    rows: tuple[FineTuning, ...]


def summarise(rows: Sequence[FineTuning]) -> list[Summary]:
    """Mean, standard deviation and n of each bar, in the order of the rows."""
    bars: dict[tuple[str, str, str, str, int], list[FineTuning]] = defaultdict(list)
    for row in rows:
        bars[row.schedule, row.arch, row.target, row.method, row.k_shot].append(row)
    found = []
    for bar, of in bars.items():
        iou, plain = spread(row.iou for row in of), spread(row.plain_iou for row in of)
        assert iou is not None  # a bar has at least one row
        assert plain is not None
        found.append(Summary(*bar, iou, plain, tuple(of)))
    return found


def mean_over_targets(
    rows: Sequence[FineTuning], targets: Sequence[str], measure: Measure = "iou"
) -> list[float]:
    """The mean over these targets, for each selection that all of them have."""
    values: dict[tuple[int, int], dict[str, float]] = defaultdict(dict)
    for row in rows:
        values[row.selection, row.seed][row.target] = getattr(row, measure)
    return [
        float(np.mean([of[name] for name in targets]))
        for of in values.values()
        if all(name in of for name in targets)
    ]
