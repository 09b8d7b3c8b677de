"""The tables of a report as cells of text, which the page and the Markdown file render."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

import numpy as np

from ...datasets.five_sets import SOURCE_NAMES
from ...models.registry import title_of
from .comparisons import Measure, Spread, paired_differences, rows_with, spread, summarise
from .paper_claims import Claim, minus
from .results import ARCHITECTURES, K_SHOTS, METHODS, FineTuning, Start, in_order

MATRIX_CELLS = len(ARCHITECTURES) * len(SOURCE_NAMES) * len(METHODS) * len(K_SHOTS) * 10
"""Number of fine-tunings in the paper, with ten selections each."""

COMPARISONS = (
    *(("complete", method) for method in METHODS if method != "complete"),
    ("bce", "transfer"),
)
"""Pairs of methods that the paper compares."""

MISSING = "–"


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes
    ----------
    header : tuple of str
    rows : tuple of tuple of str
    foot : str
        Origin of the numbers, shown below the table.
    best : frozenset of (row, column)
        Cells to highlight as the best of their group.
    n_keys : int
        Number of leading columns that identify a row; the others are numbers.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    foot: str = ""
    best: frozenset[tuple[int, int]] = frozenset()
    n_keys: int = 1

    @property
    def spans(self) -> list[int]:
        """Row span of each line's first cell; 0 for a line that repeats the first cell of the line above."""
        firsts = [row[0] for row in self.rows]
        spans = [0] * len(firsts)
        for i, first in enumerate(firsts):
            if i == 0 or first != firsts[i - 1]:
                begun = i
            spans[begun] += 1
        return spans


def targets_of(rows: Sequence[FineTuning]) -> list[str]:
    """The paper's five targets, measured or not, and any others."""
    return in_order({*SOURCE_NAMES, *(row.target for row in rows)}, SOURCE_NAMES)


def k_shots_of(rows: Sequence[FineTuning]) -> list[int]:
    """The paper's K, measured or not, and any others."""
    return sorted({*K_SHOTS, *(row.k_shot for row in rows)})


def origin(rows: Sequence[FineTuning]) -> str:
    """Seeds, schedules, commits, machines and dates of some rows, in one line."""

    def each(name: str, join: str = ", ") -> str:
        return join.join(sorted({str(getattr(row, name)) for row in rows}))

    days = sorted({row.date[:10] for row in rows})
    tests = sorted({row.n_test for row in rows})
    return (
        f"{len(rows)} fine-tunings; test images {_range(tests)}; seed {each('seed')}; "
        f"schedule {each('schedule')}; commit {each('commit')}; {_range(days)}; "
        f"machine: {each('machine', '; ')}; software: {each('software', '; ')}."
    )


def claims_table(claims: Sequence[Claim], rows: Sequence[FineTuning]) -> Table:
    """The paper's claims, our measurements with spread and n, and whether each claim holds."""
    lines = [
        (claim.paper, claim.network, f"{claim.quantity} ({claim.detail})" if claim.detail else claim.quantity,
         *_numbers(claim), claim.verdict)
        for claim in claims
    ]  # fmt: skip
    header = ("the paper says", "network", "we measured", "mean", "sd", "95 % interval", "n", "verdict")
    return Table(header, tuple(lines), origin(rows), n_keys=3)


def _numbers(claim: Claim) -> tuple[str, str, str, str]:
    """Mean, standard deviation, interval and n."""
    m = claim.measured
    if m is None:
        return MISSING, MISSING, MISSING, MISSING
    n = f"{m.n} {claim.unit}"
    if claim.kind == "factor":
        mean, sd, low, high = f"{m.mean:.1f}×", f"×/÷ {m.sd:.2f}", f"{m.low:.1f}", f"{m.high:.1f}"
    else:
        sign = "+" if claim.kind == "difference" else ""
        mean, sd, low, high = (
            f"{m.mean:{sign}.3f}",
            f"{m.sd:.3f}",
            f"{m.low:{sign}.3f}",
            f"{m.high:{sign}.3f}",
        )
    return (mean, sd, f"{low} … {high}", n) if m.n > 1 else (mean, MISSING, MISSING, n)


def summary_table(rows: Sequence[FineTuning], measure: Measure = "iou") -> Table:
    """Mean ± standard deviation for one network: a row per target and method, a column per K."""
    ks = k_shots_of(rows)
    found = {(bar.target, bar.method, bar.k_shot): getattr(bar, measure) for bar in summarise(rows)}
    lines: list[tuple[str, ...]] = []
    best: set[tuple[int, int]] = set()
    for target in targets_of(rows):
        for k_at, k in enumerate(ks):
            means = {m: found[target, m, k].mean for m in METHODS if (target, m, k) in found}
            if len(means) > 1:
                winner = max(means, key=lambda m: means[m])
                best.add((len(lines) + list(METHODS).index(winner), 2 + k_at))
        for method, label in METHODS.items():
            bars: list[Spread | None] = [found.get((target, method, k)) for k in ks]
            ns = [str(bar.n) if bar else MISSING for bar in bars]
            n = ns[0] if len(set(ns)) == 1 else "/".join(ns)
            lines.append((target, label, *map(mean_and_sd, bars), n))
    header = ("target", "method", *(f"K = {k}" for k in ks), "n")
    return Table(header, tuple(lines), origin(rows), frozenset(best), n_keys=2)


def comparison_table(rows: Sequence[FineTuning], measure: Measure = "iou") -> Table:
    """Paired differences of methods on the same selections, averaged over K: a column per target."""
    targets = targets_of(rows)
    lines = []
    for arch in in_order((row.arch for row in rows), ARCHITECTURES):
        for a, b in COMPARISONS:
            differences = paired_differences(
                rows_with(rows, arch=arch), {"method": a}, {"method": b}, measure
            )
            cells = [spread(v for unit, v in differences.items() if unit[0] == t) for t in targets]
            lines.append(
                (title_of(arch), minus(a, b),
                 *map(_difference, [*cells, spread(differences.values())]))
            )  # fmt: skip
    return Table(("network", "difference", *targets, "all"), tuple(lines), origin(rows), n_keys=2)


def schedules_table(rows: Sequence[FineTuning], measure: Measure = "iou") -> Table:
    """Paired differences of schedules, in the cells that both have."""
    lines = []
    used: set[FineTuning] = set()
    for a, b in combinations(sorted({row.schedule for row in rows}), 2):
        starts = dict.fromkeys((r.arch, r.target, r.method) for r in rows if r.schedule in (a, b))
        for arch, target, method in starts:
            own = rows_with(rows, arch=arch, target=target, method=method)
            differences = paired_differences(own, {"schedule": a}, {"schedule": b}, measure)
            if differences:
                used |= {row for row in own if row.schedule in (a, b)}
                lines.append((f"{a} − {b}", title_of(arch), target, METHODS.get(method, method),
                              _difference(spread(differences.values()))))  # fmt: skip
    header = ("schedules", "network", "target", "method", "difference")
    return Table(header, tuple(lines), origin([r for r in rows if r in used]) if used else "", n_keys=4)


def trainings_table(rows: Sequence[FineTuning]) -> Table:
    """The trained starts that the rows were fine-tuned from."""
    starts: dict[Start, list[FineTuning]] = {}
    for row in rows:
        starts.setdefault(row.start, []).append(row)
    lines = []
    for (_, arch, target, method, seed), of in starts.items():
        iterations, minutes = {r.iterations for r in of}, {round(r.train_seconds / 60, 1) for r in of}
        lines.append(
            (title_of(arch), target, METHODS.get(method, method), _range(sorted(iterations)),
             _range(sorted(minutes)), str(seed), str(len(of)), f"{median(r.seconds for r in of):.1f}")
        )  # fmt: skip
    header = ("network", "target left out", "method", "iterations", "minutes of training", "seed",
              "fine-tunings", "median seconds of one")  # fmt: skip
    return Table(header, tuple(lines), origin(rows), n_keys=3)


def mean_and_sd(found: Spread | None) -> str:
    """``0.612 ± 0.034``; without a spread if n = 1."""
    if found is None:
        return MISSING
    return f"{found.mean:.3f}" if np.isnan(found.sd) else f"{found.mean:.3f} ± {found.sd:.3f}"


def _difference(found: Spread | None) -> str:
    if found is None:
        return MISSING
    sd = "" if np.isnan(found.sd) else f" ± {found.sd:.3f}"
    return f"{found.mean:+.3f}{sd} ({found.n})"


def _range(values: Sequence[object]) -> str:
    """The range of sorted values, as text."""
    return f"{values[0]}" if len(values) == 1 else f"{values[0]}–{values[-1]}"
