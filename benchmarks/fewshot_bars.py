"""The bars that the comparison must reach, and whether it does."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from statistics import mean, median

from fewshot_results import Result, differences, of
from fewshot_targets import PHASE
from napari_fewshot_cells.datasets.five_sets import SOURCE_NAMES
from report import Row

LARGER_THAN_PAPER, SHARE_OF_PAPERS_TIME = 0.05, 0.01
LARGER_THAN_FOREST = 0.10
SCRIBBLES_COST = 0.05
PRESS_TO_LABELS = {1: 6.0, 5: 8.0, 10: 12.0}  # K: seconds
PREVIEW_SHARE, PREVIEW_SECONDS = 0.9, 2.5
_NETWORKS = ("half-unet", "fcrn")
_KIND = itemgetter("network", "annotation", "k_shot")
_PAINTED = {"painted": "painted in their shape", "strokes": "stroked"}
AT_TEN_SHOTS = {"TNBC": 0.60, "EM": 0.80, "ssTEM": 0.75}


@dataclass(frozen=True)
class Bar:
    """One demand.

    Attributes
    ----------
    demand : str
    measured : str
        In words.
    met : bool or None
        None if results are missing.
    """

    demand: str
    measured: str
    met: bool | None


def bars(results: Sequence[Result], timed: Sequence[Result]) -> list[Bar]:
    """All demands. Differences are paired by selection; means are over the means of the five real sets.

    `timed` has ours and the paper's recipe, one after the other on one quiet machine: seconds of different
    days would compare machines.
    """
    ours, paper, forest = (partial(of, results, method) for method in ("ours", "paper", "forest"))
    found = [
        _gain(
            f"ours − paper, K = 5: at least +{LARGER_THAN_PAPER:.2f}",
            {t: differences(ours(t, 5), paper(t, 5)) for t in SOURCE_NAMES},
            lambda gain, least: gain >= LARGER_THAN_PAPER,
        ),
        _time_share(
            f"seconds of ours / paper, K = 5: at most 1/{1 / SHARE_OF_PAPERS_TIME:.0f}",
            {t: _ratios(of(timed, "ours", t, 5), of(timed, "paper", t, 5)) for t in SOURCE_NAMES},
        ),
    ]
    found += [
        _gain(
            f"ours − forest, K = {k}: at least +{LARGER_THAN_FOREST:.2f}, on no set below 0",
            {t: differences(ours(t, k), forest(t, k)) for t in SOURCE_NAMES},
            lambda gain, least: gain >= LARGER_THAN_FOREST and least >= 0,
        )
        for k in (1, 5)
    ]
    found += [
        _gain(
            "ours at K = 1 − paper at K = 5: not below 0",
            {t: differences(ours(t, 1), paper(t, 5)) for t in SOURCE_NAMES},
            lambda gain, least: gain >= 0,
        ),
        _gain(
            f"ours, scribbles − whole, K = 5: not below −{SCRIBBLES_COST:.2f}",
            {t: differences(ours(t, 5, "scribbles"), ours(t, 5)) for t in SOURCE_NAMES},
            lambda gain, least: gain >= -SCRIBBLES_COST,
        ),
    ]
    found += [_level(target, level, ours(target, 10)) for target, level in AT_TEN_SHOTS.items()]
    found += [
        _gain(
            f"ours − forest on {PHASE}, K = {k}: not below 0",
            {PHASE: differences(ours(PHASE, k), forest(PHASE, k))},
            lambda gain, least: gain >= 0,
        )
        for k in (1, 5)
    ]
    return found


def window_bars(button: Sequence[Row], previews: Sequence[Row]) -> list[Bar]:
    """Demands on the real window: rows of `button.py` and of `first_preview.py`."""
    found = []
    kinds = itertools.product(_NETWORKS, _PAINTED, PRESS_TO_LABELS.items())
    for network, annotation, (k_shot, most) in kinds:
        wanted = (network, annotation, str(k_shot))
        seconds = [float(row["first_seconds"]) for row in button if _KIND(row) == wanted]
        painted = _PAINTED[annotation]
        demand = f"press to labels, {network}, cells {painted}, K = {k_shot}: at most {most:.0f} s"
        if seconds:
            found.append(
                Bar(demand, f"median {median(seconds):.1f} s; n = {len(seconds)}", median(seconds) <= most)
            )
        else:
            found.append(Bar(demand, "not measured", None))
    demand = (
        f"first preview: at least {PREVIEW_SHARE:.0%} of the final IoU, after at most {PREVIEW_SECONDS} s"
    )
    if not previews:
        return [*found, Bar(demand, "not measured", None)]
    soon = median(float(row["preview_seconds"]) for row in previews)
    preview, final = (mean(float(row[f"{which}_iou"]) for row in previews) for which in ("preview", "final"))
    met = round(preview / final, 6) >= PREVIEW_SHARE and soon <= PREVIEW_SECONDS
    measured = f"{preview / final:.0%} ({preview:.3f} of {final:.3f}) after {soon:.1f} s; n = {len(previews)}"
    return [*found, Bar(demand, measured, met)]


def _ratios(a: dict[int, Result], b: dict[int, Result]) -> list[float]:
    """Ratios of seconds timed in the same run: other days would compare machines."""
    both = sorted(a.keys() & b.keys())
    return [a[s].seconds / b[s].seconds for s in both if a[s].commit == b[s].commit]


def _gain(
    demand: str, per_target: Mapping[str, Sequence[float]], holds: Callable[[float, float], bool]
) -> Bar:
    """`holds` gets the mean over the sets, and the lowest of their means."""
    missing = _missing(per_target)
    if missing:
        return Bar(demand, missing, None)
    means = {target: mean(values) for target, values in per_target.items()}
    lowest = min(means, key=lambda target: means[target])
    # the results have four digits: round away floating-point noise beyond
    gain, least = round(mean(means.values()), 6), round(means[lowest], 6)
    n = min(len(values) for values in per_target.values())
    return Bar(demand, f"{gain:+.3f}; lowest {lowest} {least:+.3f}; n ≥ {n}", holds(gain, least))


def _time_share(demand: str, per_target: Mapping[str, Sequence[float]]) -> Bar:
    missing = _missing(per_target)
    if missing:
        return Bar(demand, missing, None)
    share = mean(median(ratios) for ratios in per_target.values())
    return Bar(demand, f"1/{1 / share:.0f}", share <= SHARE_OF_PAPERS_TIME)


def _level(target: str, level: float, found: dict[int, Result]) -> Bar:
    demand = f"ours on {target}, K = 10: at least {level:.2f}"
    if not found:
        return Bar(demand, _missing({target: ()}), None)
    reached = mean(r.iou for r in found.values())
    return Bar(demand, f"{reached:.3f}; n = {len(found)}", round(reached, 6) >= level)


def _missing(per_target: Mapping[str, Sequence[float]]) -> str:
    """Names the sets without results; empty if there are none."""
    lacking = [target for target, values in per_target.items() if not values]
    return f"no results on {', '.join(lacking)}" if lacking else ""
