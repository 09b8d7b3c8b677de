"""IoU against seconds from press to labels, as a figure."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

import matplotlib
from matplotlib.figure import Figure

from fewshot_methods import METHODS
from fewshot_results import Result

K_SHOT, ANNOTATION = 5, "whole"

COLOURS = {
    "otsu": "#8b919b",
    "forest": "#00845f",
    "random-fcrn": "#8fc6ec",
    "random-unet": "#c9a6d8",
    "random-half-unet": "#9bbf6b",
    "transfer": "#d98e00",
    "paper": "#b8443c",
    "fcrn": "#2f7fc1",
    "ours": "#1f2f55",
}
INK, MUTED, GRID = "#22262e", "#5d6573", "#dfe2e7"


@dataclass(frozen=True)
class Point:
    """A method with one setting."""

    setting: str
    seconds: float
    iou: float


def curve_points(results: Sequence[Result]) -> tuple[dict[str, list[Point]], int]:
    """Points of each method by time, and the number of pairs of target and selection behind each point.

    Counts only pairs that all settings of all methods were run on: points of different targets cannot be
    compared.
    """
    found: dict[tuple[str, str], dict[tuple[str, int], Result]] = defaultdict(dict)
    for r in results:
        if (r.k_shot, r.annotation) == (K_SHOT, ANNOTATION):
            found[r.method, r.setting][r.target, r.selection] = r
    common = set.intersection(*(set(runs) for runs in found.values())) if found else set()
    if not common:
        return {}, 0
    points: dict[str, list[Point]] = defaultdict(list)
    for (method, setting), runs in found.items():
        chosen = [runs[pair] for pair in common]
        seconds, quality = median(r.seconds for r in chosen), mean(r.iou for r in chosen)
        points[method].append(Point(setting, seconds, quality))
    return {m: sorted(points[m], key=lambda p: p.seconds) for m in METHODS if m in points}, len(common)


def curve_figure(points: Mapping[str, Sequence[Point]]) -> str:
    """The curve of each method; SVG."""
    settings = {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "few-shot",  # the same results make the same file
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.axisbelow": True,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "grid.color": GRID,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        axes = figure.subplots()
        for method, line in points.items():
            axes.plot([p.seconds for p in line], [p.iou for p in line], "o-", color=COLOURS[method],
                      lw=2.2 if method == "ours" else 1.4, ms=5, label=method)  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axes.set_xlabel("seconds from press to labels")
        axes.set_ylabel("mean IoU of the foreground")
        axes.set_ylim(0, 1)
        axes.grid(True, axis="y")
        figure.legend(loc="outside upper left", ncols=5, frameon=False, handlelength=1.5)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
