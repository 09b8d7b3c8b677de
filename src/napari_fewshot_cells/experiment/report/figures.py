"""The plots of a report: bars of IoU and learning curves.

They are SVG. Every colour in them has a name, so that a page can give the names other values in dark mode.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from .comparisons import Measure, Spread, mean_over_targets, rows_with, spread
from .paper_claims import ANCHORS, running_mean
from .results import METHODS, Curve, FineTuning, Start

COLOURS = {
    "transfer": "#8b919b",
    "bce": "#3f9fd8",
    "bce+er": "#00845f",
    "bce+d": "#d98e00",
    "complete": "#1f2f55",
    "ink": "#22262e",
    "muted": "#5d6573",
    "grid": "#dfe2e7",
    "surface": "#ffffff",
}
"""On a light ground. Methods differ for all three kinds of colour blindness, and by their order, too."""

DARK_COLOURS = {
    "transfer": "#747a85",
    "bce": "#4aa8e0",
    "bce+er": "#0d9a74",
    "bce+d": "#f0b030",
    "complete": "#f3f5fa",
    "ink": "#e6e9ef",
    "muted": "#9aa3b2",
    "grid": "#30363f",
    "surface": "#171a20",
}

_TEXT_LINE: dict[str, Any] = {"color": COLOURS["ink"], "lw": 1.4, "ls": (0, (3, 2))}
_BAR = 0.84  # share of the space between two K that bars take
_PANELS = (2, 3)
_SIZE = (12.0, 6.1)  # inches; the page scales it


def bars_figure(
    rows: Sequence[FineTuning], targets: Sequence[str], k_shots: Sequence[int], measure: Measure = "iou"
) -> str:
    """Mean IoU of one network, as in the paper's Figures 3 and 4: a panel for each target, one for the mean.

    Parameters
    ----------
    rows : sequence of FineTuning
        Of one schedule and one network.
    targets : sequence of str
    k_shots : sequence of int
        Groups of bars. A cross on the axis marks a bar that was not measured.
    measure : str

    Returns
    -------
    str
        SVG.
    """
    with _style():
        figure, panels = _panels(targets, with_mean=True)
        for axes, target in zip(panels, [*targets, None], strict=False):
            _bars(axes, rows, targets, target, k_shots, measure)
        handles: list[Patch | Line2D] = [
            Patch(color=COLOURS[m], label=_mathtext(METHODS[m])) for m in METHODS
        ]
        handles.append(Line2D([], [], label="the paper's text, K = 10", **_TEXT_LINE))
        handles.append(_cross("not measured"))
        _legend_above(figure, handles)
        return _svg(figure)


def curves_figure(curves: Mapping[Start, Curve], arch: str, targets: Sequence[str]) -> str:
    """L_BCE against seconds of training, one panel for each target.

    Parameters
    ----------
    curves : mapping of Start to Curve
        Of one schedule.
    arch : str
    targets : sequence of str

    Returns
    -------
    str
        SVG.
    """
    own: dict[tuple[str, str], list[Curve]] = defaultdict(list)
    for (_, of, target, method, _), curve in curves.items():
        if of == arch:
            own[target, method].append(curve)
    # A first iteration far above the rest would squeeze all others to the axis.
    top = 1.05 * max(float(np.quantile(curve.bce, 0.98)) for seeds in own.values() for curve in seeds)
    with _style():
        figure, panels = _panels(targets, with_mean=False)
        for axes, target in zip(panels, targets, strict=False):
            for method in METHODS:
                for curve in own.get((target, method), []):
                    axes.plot(curve.seconds, curve.bce, color=COLOURS[method], lw=0.6, alpha=0.3)
                    axes.plot(curve.seconds, running_mean(curve), color=COLOURS[method], lw=1.6)
            missing = [METHODS[m] for m in METHODS if (target, m) not in own]
            if missing:
                note = "\n".join(
                    ["not trained", *missing] if len(missing) < len(METHODS) else ["not trained"]
                )
                axes.text(0.98, 0.95, _mathtext(note), transform=axes.transAxes, ha="right", va="top",
                          color=COLOURS["muted"], fontsize=7.5)  # fmt: skip
            axes.set_title(target)
            axes.set_xlim(left=0)
            axes.set_ylim(0, top)
            axes.set_xlabel("seconds of training")
        for axes in panels[::3]:
            axes.set_ylabel("$L_{BCE}$")
        handles = [Line2D([], [], color=COLOURS[m], lw=2.5, label=_mathtext(METHODS[m])) for m in METHODS]
        _legend_above(figure, handles)
        return _svg(figure)


def for_page(svg: str) -> str:
    """The SVG as part of a page: its colours become CSS variables ``--NAME``."""
    names = {value: re.sub(r"\W", "-", name) for name, value in COLOURS.items()}
    body = svg[svg.index("<svg") :]
    return re.sub("|".join(names), lambda found: f"var(--{names[found[0]]})", body)


def _bars(
    axes: Axes,
    rows: Sequence[FineTuning],
    targets: Sequence[str],
    target: str | None,
    k_shots: Sequence[int],
    measure: Measure,
) -> None:
    width = _BAR / len(METHODS)
    groups = np.arange(len(k_shots))
    for i, method in enumerate(METHODS):
        found = [_bar_of(rows, targets, target, method, k, measure) for k in k_shots]
        at = groups + (i - (len(METHODS) - 1) / 2) * width
        there = np.array([bar is not None for bar in found])
        means = [bar.mean for bar in found if bar]
        sds = [bar.sd for bar in found if bar]
        bars = axes.bar(at[there], means, 0.9 * width, color=COLOURS[method], yerr=sds, capsize=1.3,
                        error_kw={"lw": 0.9, "capthick": 0.9, "ecolor": COLOURS["ink"]})  # fmt: skip
        _halo(bars)
        axes.plot(at[~there], np.full((~there).sum(), 0.02), "x", color=COLOURS[method], ms=3, mew=0.9)
    if target in ANCHORS and 10 in k_shots:
        middle = list(k_shots).index(10)
        halo = withStroke(linewidth=3, foreground=COLOURS["surface"])
        axes.plot([middle - 0.5, middle + 0.5], [ANCHORS[target]] * 2, path_effects=[halo], **_TEXT_LINE)
    axes.set_title(target or f"mean of the {len(targets)} targets")
    axes.set_xticks(groups, [str(k) for k in k_shots])
    axes.set_xlim(-0.55, len(k_shots) - 0.45)
    axes.set_ylim(0, 1)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("shots K")


def _bar_of(
    rows: Sequence[FineTuning],
    targets: Sequence[str],
    target: str | None,
    method: str,
    k_shot: int,
    measure: Measure,
) -> Spread | None:
    if target is not None:
        return spread(
            getattr(r, measure) for r in rows_with(rows, target=target, method=method, k_shot=k_shot)
        )
    return spread(mean_over_targets(rows_with(rows, method=method, k_shot=k_shot), targets, measure))


def _halo(bars: BarContainer) -> None:
    """Keep the lower half of an error bar visible on a dark bar."""
    if bars.errorbar is not None:
        _, caps, lines = bars.errorbar
        for part in (*caps, *lines):
            part.set_path_effects([withStroke(linewidth=2.4, foreground=COLOURS["surface"])])


def _panels(targets: Sequence[str], *, with_mean: bool) -> tuple[Figure, list[Axes]]:
    """A grid for the paper's five targets and a sixth panel; more rows for more targets."""
    n, columns = len(targets) + with_mean, _PANELS[1]
    n_rows = max(1, -(-n // columns))
    figure = Figure(
        figsize=(_SIZE[0], _SIZE[1] * n_rows / _PANELS[0]),
        layout=ConstrainedLayoutEngine(wspace=0.04, hspace=0.05),
    )
    grid = figure.subplots(n_rows, columns, squeeze=False, sharey=True)
    panels = list(grid.flat)
    for axes in panels[n:]:
        axes.set_axis_off()
    if with_mean:
        for axes in panels[::columns]:
            axes.set_ylabel("mean IoU")
    return figure, panels[:n]


def _legend_above(figure: Figure, handles: Sequence[Patch | Line2D]) -> None:
    figure.legend(handles=list(handles), loc="outside upper left", ncols=len(handles), frameon=False,
                  handlelength=1.3, columnspacing=1.5, handletextpad=0.5)  # fmt: skip


def _cross(label: str) -> Line2D:
    return Line2D([], [], color=COLOURS["muted"], marker="x", ls="", ms=4, label=label)


def _mathtext(label: str) -> str:
    """Set the subscript of L_BCE in mathtext."""
    return re.sub(r"L_(\w+)", r"$L_{\\mathrm{\1}}$", label)


@contextmanager
def _style() -> Iterator[None]:
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # keeps text as text: to select, search and read aloud
        "svg.hashsalt": "few-shot",  # the same results give the same file
        "font.family": "DejaVu Sans",
        "font.size": 8.5,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.edgecolor": COLOURS["muted"],
        "axes.labelcolor": COLOURS["muted"],
        "axes.titlecolor": COLOURS["ink"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": COLOURS["grid"],
        "grid.linewidth": 0.7,
        "ytick.left": False,
        "xtick.color": COLOURS["muted"],
        "ytick.color": COLOURS["muted"],
        "text.color": COLOURS["ink"],
        "figure.facecolor": COLOURS["surface"],
        "axes.facecolor": COLOURS["surface"],
    }
    with matplotlib.rc_context(settings):
        yield


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
