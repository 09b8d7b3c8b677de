"""Makes docs/results/annotate-next.md and annotate-next.svg from docs/results/annotate-next.csv.

python benchmarks/annotate_next_report.py
"""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import matplotlib
from matplotlib.figure import Figure

from annotate_next import ARMS, RANDOM, SUGGESTED
from report import RESULTS, Row, origin, spread, table

COLOURS = {RANDOM: "#8b919b", SUGGESTED: "#1f2f55"}
BUNDLED = "bundled"
SURE = 2.0  # standard errors

Ious = dict[tuple[str, str, int], dict[int, float]]
"""For each target, arm and number of parts, the IoU of each seed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill table and figure into the text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS / "annotate-next.csv")
    parser.add_argument("--out", type=Path, default=RESULTS / "annotate-next.md")
    options = parser.parse_args(arguments)
    with options.results.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure = options.out.with_suffix(".svg")
    figure.write_text(curves(rows), encoding="utf-8")
    text = (RESULTS / "annotate-next.template.md").read_text(encoding="utf-8")
    for name, content in {
        "verdict": verdict(rows),
        "curve": f"![IoU against annotated parts]({figure.name})",
        "table": ious_table(rows),
        "starts": starts(rows),
        "origin": origin(rows),
    }.items():
        text = text.replace(f"<!-- {name} -->", content)
    options.out.write_text(text, encoding="utf-8")
    print(options.out)


def ious_of(rows: Sequence[Row]) -> Ious:
    """IoU by target, arm and number of parts, then by seed."""
    ious: Ious = {}
    for row in rows:
        key = row["target"], row["arm"], int(row["k_regions"])
        ious.setdefault(key, {})[int(row["seed"])] = float(row["iou"])
    return ious


def gains(ious: Ious, target: str, k: int) -> list[float]:
    """IoU with suggestion minus IoU at random, for each seed that has both."""
    suggested, at_random = (ious.get((target, arm, k), {}) for arm in (SUGGESTED, RANDOM))
    return [suggested[seed] - at_random[seed] for seed in sorted(suggested.keys() & at_random.keys())]


def verdict(rows: Sequence[Row]) -> str:
    """The result in words, by target; a seed's gain is its mean over all numbers of parts but the first."""
    ious = ious_of(rows)
    lines, better = [], 0
    targets, ks = _targets(rows), sorted({k for *_, k in ious} - {1})
    for target in targets:
        of_seeds = [
            sum(of_k) / len(of_k) for of_k in zip(*(gains(ious, target, k) for k in ks), strict=False)
        ]
        if not of_seeds:
            continue
        gain, wins = mean(of_seeds), sum(value > 0 for value in of_seeds)
        error = stdev(of_seeds) / math.sqrt(len(of_seeds)) if len(of_seeds) > 1 else math.inf
        word = "no clear difference" if abs(gain) < SURE * error else "better" if gain > 0 else "**worse**"
        better += word == "better"
        lines.append(
            f"- {target}: {word}; {gain:+.3f} ± {error:.3f} (standard error), better in {wins} of "
            f"{len(of_seeds)} seeds."
        )
    return "\n".join(
        [f"**Following the model is better than picking at random on {better} of {len(targets)} sets.** Mean "
         "difference in IoU over all numbers of parts but the first:", *lines]
    )  # fmt: skip


def ious_table(rows: Sequence[Row]) -> str:
    """Both arms and their paired difference."""
    ious, lines = ious_of(rows), []
    for target in _targets(rows):
        for k in sorted({k for name, _, k in ious if name == target}):
            arms = [list(ious.get((target, arm, k), {}).values()) for arm in ARMS]
            cells = [f"{spread(values)} ({len(values)})" if values else "–" for values in arms]
            paired = gains(ious, target, k)
            lines.append([target, str(k), *cells, spread(paired) if paired and k > 1 else "–"])
    return table(["target", "parts", *ARMS, "suggested − random"], lines)


def starts(rows: Sequence[Row]) -> str:
    """The start of each target, and a warning if it has seen the target."""
    lines = []
    for target in _targets(rows):
        for start in sorted({row["start"] for row in rows if row["target"] == target}):
            seen = "; **it was trained on this very set**" if start.startswith(BUNDLED) else ""
            lines.append(f"- {target}: {start}{seen}.")
    return "\n".join(lines)


def curves(rows: Sequence[Row]) -> str:
    """IoU against the number of parts, a panel for each target; SVG."""
    settings = {"svg.fonttype": "none", "svg.hashsalt": "few-shot", "font.size": 9,
                "axes.spines.top": False, "axes.spines.right": False}  # fmt: skip
    ious, targets = ious_of(rows), _targets(rows)
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(1 + 2.6 * len(targets), 3.2), layout="constrained")
        panels = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
        for axes, target in zip(panels, targets, strict=True):
            for arm in ARMS:
                by_k = {
                    k: values for (name, of, k), values in sorted(ious.items()) if (name, of) == (target, arm)
                }
                for seed in {seed for values in by_k.values() for seed in values}:
                    there = [(k, values[seed]) for k, values in by_k.items() if seed in values]
                    axes.plot(*zip(*there, strict=True), color=COLOURS[arm], lw=0.6, alpha=0.4)
                means = [mean(values.values()) for values in by_k.values()]
                axes.plot(list(by_k), means, "o-", color=COLOURS[arm], lw=2, ms=4, label=arm)
            axes.set_title(target)
            axes.set_xlabel("annotated parts")
            axes.set_xticks(sorted({k for *_, k in ious}))
        panels[0].set_ylabel("mean IoU of the foreground")
        panels[0].legend(frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _targets(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["target"] for row in rows))


if __name__ == "__main__":
    main()
