"""The statements of the paper's text, one by one, checked against the measurements.

The paper shows its results as bar charts; its text names orderings and a few numbers. Each is a `Claim` about
a mean with a limit. Units are selections of targets (see `comparisons.paired_ious`). So the interval shows
how certain the mean is *for these trained starts*: another training would move it, and one start cannot show
by how much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .comparisons import Measure, Spread, Unit, paired_ious, rows_with, spread, summarise
from .results import ARCHITECTURES, METHODS, Curve, FineTuning, Start

ANCHORS = {"B5": 0.90, "B39": 0.90, "EM": 0.70, "TNBC": 0.50}
"""IoU at 10 shots, for "around 90 % or more", "around 70 % range", "within 50 % range"."""

AROUND_90 = ("B5", "B39")
"""Sets whose results are "around 90 % or more"."""

CLOSE = 0.05
"""Our reading of "close": the mean IoUs differ by no more than this."""

SPEED_UP = {"fcrn": 40, "unet": 60}
"""The paper's factors by which meta-learning converges faster than transfer learning."""

_FEWEST_FOR_SD = 3  # selections, for a standard deviation
_SMOOTH = 5  # points of a curve of at most 300; many more would blur how early a fast training arrives


@dataclass(frozen=True)
class Claim:
    """One of the paper's statements and its check.

    Attributes
    ----------
    paper : str
        The paper's statement.
    network : str
    quantity : str
        What the numbers are.
    measured : Spread or None
        None if cells are missing.
    limit : float
        The mean must be at least this; with `within`, its absolute value at most this.
    within : bool
    detail : str
        The numbers behind the mean.
    unit : str
        What n counts.
    kind : str
        Differences of IoUs, IoUs, or factors with a geometric mean.
    """

    paper: str
    network: str
    quantity: str
    measured: Spread | None
    limit: float = 0.0
    within: bool = False
    detail: str = ""
    unit: str = "selections"
    kind: Literal["difference", "level", "factor"] = "difference"

    @property
    def verdict(self) -> str:
        """``holds`` or ``does not hold``, by the mean; ``within the spread``: the interval has the limit."""
        if self.measured is None:
            return "not measured"
        m = self.measured
        holds = abs(m.mean) <= self.limit if self.within else m.mean >= self.limit
        verdict = "holds" if holds else "does not hold"
        if m.n == 1:
            return f"{verdict}, n = 1"
        edges = (-self.limit, self.limit) if self.within else (self.limit,)
        return f"{verdict}, within the spread" if any(m.low < e < m.high for e in edges) else verdict


def check_orderings(
    rows: Sequence[FineTuning], curves: Mapping[Start, Curve], measure: Measure = "iou"
) -> list[Claim]:
    """Every claim of the paper, for both networks.

    Parameters
    ----------
    rows : sequence of FineTuning
        Of one schedule.
    curves : mapping of Start to Curve
        Of the same schedule.
    measure : str
    """
    own = {arch: rows_with(rows, arch=arch) for arch in ARCHITECTURES}
    pairs = [("complete", other) for other in METHODS if other != "complete"] + [("bce", "transfer")]
    return [
        _networks(rows, measure),
        *(_methods(own[arch], arch, a, b, measure) for a, b in pairs for arch in ARCHITECTURES),
        *(_close_on_b39(own[arch], arch, measure) for arch in ARCHITECTURES),
        *(_only_shots_help(own[arch], arch, measure) for arch in ARCHITECTURES),
        *(_five_shots(own[arch], arch, measure) for arch in ARCHITECTURES),
        *(_spread_shrinks(own[arch], arch, measure) for arch in ARCHITECTURES),
        *(_converges_faster(curves, arch) for arch in ARCHITECTURES),
        *(_anchor(own[arch], arch, target, measure) for target in ANCHORS for arch in ARCHITECTURES),
    ]


def seconds_to(curve: Curve, loss: float) -> float:
    """Seconds until the running mean of the loss is first at or below `loss`; NaN if it never is."""
    reached = np.flatnonzero(running_mean(curve) <= loss)
    return float(curve.seconds[reached[0]]) if len(reached) else np.nan


def running_mean(curve: Curve) -> NDArray[np.float64]:
    """Mean of the loss over each point and the few before it."""
    sums = np.concatenate([[0.0], np.cumsum(curve.bce)])
    last = np.arange(1, len(sums))
    first = np.maximum(0, last - _SMOOTH)
    means: NDArray[np.float64] = (sums[last] - sums[first]) / (last - first)
    return means


def common_loss(curves: Sequence[Curve]) -> float:
    """The lowest loss that all curves reach."""
    return float(max(running_mean(curve).min() for curve in curves))


def _networks(rows: Sequence[FineTuning], measure: Measure) -> Claim:
    both = paired_ious(rows, [{"arch": "unet"}, {"arch": "fcrn"}], measure)
    return _above(
        both, "U-Net is slightly above FCRN", "both", "U-Net − FCRN, mean over targets, methods and K"
    )


def _methods(rows: Sequence[FineTuning], arch: str, a: str, b: str, measure: Measure) -> Claim:
    both = paired_ious(rows, [{"method": a}, {"method": b}], measure)
    best = f"The complete loss is best on average: above {METHODS[b]}"
    says = best if a == "complete" else "L_BCE alone is already above transfer learning"
    return _above(both, says, ARCHITECTURES[arch], f"{minus(a, b)}, mean over targets and K")


def _above(both: Mapping[Unit, NDArray[np.float64]], says: str, network: str, quantity: str) -> Claim:
    measured = spread(a - b for a, b in both.values())
    return Claim(says, network, quantity, measured, detail=_both_means(both), unit=_unit(both))


def _close_on_b39(rows: Sequence[FineTuning], arch: str, measure: Measure) -> Claim:
    cells = rows_with(rows, target="B39", k_shot=10)
    both = paired_ious(cells, [{"method": "complete"}, {"method": "transfer"}], measure)
    return Claim(
        "Transfer learning is close on B39 at 10 shots",
        ARCHITECTURES[arch],
        f"{minus('complete', 'transfer')}; close: within ±{CLOSE:.2f}",
        spread(a - b for a, b in both.values()),
        CLOSE,
        within=True,
        detail=_both_means(both),
    )


def _only_shots_help(rows: Sequence[FineTuning], arch: str, measure: Measure) -> Claim:
    cells = [row for row in rows if row.target in AROUND_90]
    conditions = [("complete", 1), ("complete", 10), ("transfer", 10)]
    found = paired_ious(cells, [{"method": method, "k_shot": k} for method, k in conditions], measure)
    gains = [ten - one for one, ten, _ in found.values()]
    apart = [abs(ten - other) for _, ten, other in found.values()]
    detail = f"{np.mean(gains):+.3f} against {np.mean(apart):.3f}" if found else ""
    return Claim(
        f"If results are around 90 % ({' and '.join(AROUND_90)}), only more shots help",
        ARCHITECTURES[arch],
        f"gain K = 1 → 10, {METHODS['complete']}, less the distance from {METHODS['transfer']} at K = 10",
        spread(float(gain - distance) for gain, distance in zip(gains, apart, strict=True)),
        detail=detail,
        unit=_unit(found),
    )


def _five_shots(rows: Sequence[FineTuning], arch: str, measure: Measure) -> Claim:
    by_k = paired_ious(rows_with(rows, method="complete"), [{"k_shot": k} for k in (1, 5, 10)], measure)
    early, late = ([of[i + 1] - of[i] for of in by_k.values()] for i in (0, 1))
    gains = f"K = 1 → 5 {np.mean(early):+.3f}, K = 5 → 10 {np.mean(late):+.3f}" if by_k else ""
    return Claim(
        "At least 5 shots give good results: most is gained by the fifth",
        ARCHITECTURES[arch],
        f"gain K = 1 → 5 less gain K = 5 → 10, {METHODS['complete']}",
        spread(a - b for a, b in zip(early, late, strict=True)),
        detail=gains,
        unit=_unit(by_k),
    )


def _spread_shrinks(rows: Sequence[FineTuning], arch: str, measure: Measure) -> Claim:
    sds: dict[tuple[str, str, int], float] = {}
    for bar in summarise(rows):
        found: Spread = getattr(bar, measure)
        if found.n >= _FEWEST_FOR_SD:
            sds[bar.target, bar.method, bar.k_shot] = found.sd
    pairs = {(t, m): (sd, sds[t, m, 10]) for (t, m, k), sd in sds.items() if k == 1 and (t, m, 10) in sds}
    targets = sorted({target for target, _ in pairs})
    shrinks = [np.mean([one - ten for (t, _), (one, ten) in pairs.items() if t == name]) for name in targets]
    smaller = sum(ten < one for one, ten in pairs.values())
    one, ten = (np.mean([pair[i] for pair in pairs.values()]) if pairs else np.nan for i in (0, 1))
    detail = f"sd {one:.3f} at K = 1, {ten:.3f} at K = 10; smaller in {smaller} of {len(pairs)} bars"
    return Claim(
        "The spread shrinks with more shots",
        ARCHITECTURES[arch],
        "sd over selections at K = 1 less that at K = 10, mean over methods",
        spread(float(value) for value in shrinks),
        detail=detail if pairs else "",
        unit="targets",
    )


def _converges_faster(curves: Mapping[Start, Curve], arch: str) -> Claim:
    pairs: dict[tuple[str, int], dict[str, Curve]] = {}
    for (_, of, target, method, seed), curve in curves.items():
        if of == arch and method in ("transfer", "complete"):
            pairs.setdefault((target, seed), {})[method] = curve
    factors = {}
    for unit, pair in pairs.items():
        if len(pair) == 2:
            loss = common_loss(list(pair.values()))
            factors[unit] = seconds_to(pair["transfer"], loss) / seconds_to(pair["complete"], loss)
    logs = spread(np.log(value) for value in factors.values())
    detail = ", ".join(f"{target} {value:.1f}" for (target, _), value in factors.items())
    if logs is not None:  # factors have a geometric mean: that of 2 and ½ is 1
        low, high = np.exp(logs.low), np.exp(logs.high)
        logs = Spread(float(np.exp(logs.mean)), float(np.exp(logs.sd)), logs.n, float(low), float(high))
    return Claim(
        "Meta-learning converges faster than transfer learning: "
        + ", ".join(f"{factor}× ({ARCHITECTURES[name]})" for name, factor in SPEED_UP.items()),
        ARCHITECTURES[arch],
        "seconds of transfer learning / complete loss, to the lowest L_BCE that both reach; faster: above 1",
        logs,
        1.0,
        detail=detail,
        unit="targets",
        kind="factor",
    )


def _anchor(rows: Sequence[FineTuning], arch: str, target: str, measure: Measure) -> Claim:
    limit = ANCHORS[target]
    cell = rows_with(rows, target=target, method="complete", k_shot=10)
    return Claim(
        f"{target} reaches {limit:.2f} at 10 shots",
        ARCHITECTURES[arch],
        "IoU, complete loss",
        spread(getattr(row, measure) for row in cell),
        limit,
        kind="level",
    )


def minus(a: str, b: str) -> str:
    """The difference of two methods in words."""
    return f"{METHODS[a]} − ({METHODS[b]})" if "+" in b else f"{METHODS[a]} − {METHODS[b]}"


def _unit(units: Iterable[Unit]) -> str:
    """Name the number of targets: an average over two is weaker than one over five."""
    n_targets = len({target for target, _, _ in units})
    return f"selections of {n_targets} target{'s' if n_targets > 1 else ''}"


def _both_means(both: Mapping[Unit, NDArray[np.float64]]) -> str:
    if not both:
        return ""
    a, b = np.mean(list(both.values()), axis=0)
    return f"{a:.3f} against {b:.3f}"
