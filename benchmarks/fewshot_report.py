"""Makes docs/results/fewshot.md and fewshot.svg from docs/results/fewshot.csv.

python benchmarks/fewshot_report.py

Seconds of ours and of the paper's recipe are compared only within one run on a quiet machine:
`fewshot.py --methods paper ours --annotations whole --k-shots 5 --out docs/results/fewshot-seconds.csv`.
The points of the curve come from a separate run on one quiet machine:
`fewshot.py --annotations whole --k-shots 5 --selections 1 --targets B5 B39 ssTEM EM TNBC
--precision bf16-mixed --steps 20 80 320 --epochs 1 5 20 --trees 10 100 --out docs/results/fewshot-curve.csv`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, median

from fewshot_bars import Bar, bars, window_bars
from fewshot_curve import ANNOTATION, K_SHOT, curve_figure, curve_points
from fewshot_methods import METHODS
from fewshot_results import Result, differences, of, read_results
from fewshot_targets import ANNOTATIONS, TARGETS
from report import Row, read, spread, table

RESULTS = Path(__file__).parents[1] / "docs" / "results"
RIVALS = ("forest", "paper")
CUTS = ("calibrated", "drawn", "plain")
MISSING = "–"
VERDICTS = {True: "met", False: "**not met**", None: "missing"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the tables into the text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS / "fewshot.csv")
    parser.add_argument("--curve", type=Path, default=RESULTS / "fewshot-curve.csv")
    parser.add_argument("--out", type=Path, default=RESULTS / "fewshot.md")
    options = parser.parse_args(arguments)
    results, timed = read_results(options.results), read_results(RESULTS / "fewshot-seconds.csv")
    pressed = window_bars(read("button.csv"), read("first-preview.csv"))
    text = (RESULTS / "fewshot.template.md").read_text(encoding="utf-8")
    for name, content in {
        "bars": bars_table([*bars(results, timed), *pressed]),
        "iou": quality_table(results, "iou"),
        "ap50": quality_table(results, "ap50"),
        "differences": differences_table(results),
        "seconds": seconds_table(results),
        "forest": forest_table(read("fewshot-forest.csv")),
        "curve": curve(read_results(options.curve), options.out.with_suffix(".svg")),
        "origin": origin(results),
    }.items():
        text = text.replace(f"<!-- {name} -->", content)
    options.out.write_text(text, encoding="utf-8")
    print(options.out)


def bars_table(found: Sequence[Bar]) -> str:
    """The bars, with their verdicts."""
    return table(["bar", "measured", "verdict"], [[b.demand, b.measured, VERDICTS[b.met]] for b in found])


def quality_table(results: Sequence[Result], measure: str) -> str:
    """All methods, by annotation, target and K."""
    lines = []
    for annotation, target, k_shot in rows_of(results):
        values = [
            [getattr(r, measure) for r in of(results, method, target, k_shot, annotation).values()]
            for method in METHODS
        ]
        if measure == "iou" or any(v is not None for of_method in values for v in of_method):
            lines.append([annotation, target, str(k_shot), *map(cell, values)])
    return table(["annotation", "target", "K", *METHODS], lines)


def differences_table(results: Sequence[Result]) -> str:
    """Ours minus its rivals, paired by selection."""
    lines = []
    for annotation, target, k_shot in rows_of(results):
        ours = of(results, "ours", target, k_shot, annotation)
        gains = [differences(ours, of(results, rival, target, k_shot, annotation)) for rival in RIVALS]
        if any(gains):
            lines.append([annotation, target, str(k_shot), *map(cell, gains)])
    return table(["annotation", "target", "K", *(f"ours − {rival}" for rival in RIVALS)], lines)


def seconds_table(results: Sequence[Result]) -> str:
    """Median seconds over targets and selections: total, and of the fitting."""
    lines = []
    for annotation in ANNOTATIONS:
        for k_shot in sorted({r.k_shot for r in results if r.annotation == annotation}):
            line = []
            for method in METHODS:
                found = [
                    r for target in TARGETS for r in of(results, method, target, k_shot, annotation).values()
                ]
                total, fitting = ([getattr(r, name) for r in found] for name in ("seconds", "fit_seconds"))
                line.append(f"{median(total):.1f} ({median(fitting):.1f})" if found else MISSING)
            lines.append([annotation, str(k_shot), *line])
    return table(["annotation", "K", *METHODS], lines)


def forest_table(rows: Sequence[Row]) -> str:
    """The forest settings that were tried: mean IoU at three thresholds."""
    targets = list(dict.fromkeys(row["target"] for row in rows))
    lines = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        line = [setting]
        for target in targets:
            there = [row for row in rows if (row["setting"], row["target"]) == (setting, target)]
            ious = [mean(float(row[f"{cut}_iou"]) for row in there) for cut in CUTS if there]
            line.append(" / ".join(f"{value:.3f}" for value in ious) or MISSING)
        lines.append(line)
    return table(["setting", *targets], lines)


def curve(results: Sequence[Result], path: Path) -> str:
    """Draw IoU against seconds, and say what the figure shows."""
    points, n = curve_points(results)
    if not points:
        return f"No curve: no selection has been run with every setting at K = {K_SHOT} yet."
    path.write_text(curve_figure(points), encoding="utf-8")
    return (
        f"![IoU against seconds]({path.name})\n\nK = {K_SHOT}, {ANNOTATION} images; mean over the {n} pairs "
        "of target and selection that every point shares, median seconds."
    )


def origin(results: Sequence[Result]) -> str:
    """Commits, dates and machines."""
    commits, machines = (sorted({getattr(r, name) for r in results}) for name in ("commit", "machine"))
    dates = sorted(r.date[:10] for r in results)
    return f"Commit {', '.join(commits)}; {dates[0]} to {dates[-1]}; {'; '.join(machines)}."


def rows_of(results: Sequence[Result]) -> list[tuple[str, str, int]]:
    """Annotation, target and K of a table's lines, in order."""
    there = {(r.annotation, r.target, r.k_shot) for r in results}
    return sorted(there, key=lambda row: (ANNOTATIONS.index(row[0]), TARGETS.index(row[1]), row[2]))


def cell(values: Iterable[float | None]) -> str:
    """Mean ± standard deviation over selections, and their number; a dash if there are none."""
    there = [value for value in values if value is not None]
    return f"{spread(there)} ({len(there)})" if there else MISSING


if __name__ == "__main__":
    main()
