"""Makes docs/results/first-light.md from the result files beside it.

python benchmarks/report.py
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import mean, median, stdev

RESULTS = Path(__file__).parents[1] / "docs" / "results"
PRETRAINED = Path(__file__).parents[1] / "pretrained"
BARS = {"EM": 0.10, "TNBC": 0.05}

Row = dict[str, str]


def read(name: str) -> list[Row]:
    """Rows of a result file."""
    with (RESULTS / name).open(newline="") as file:
        return list(csv.DictReader(file))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def origin(rows: Sequence[Row]) -> str:
    """Commits, date and machines of some rows, in one line."""
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    machines = "; ".join(sorted({row["machine"] for row in rows}))
    return f"Commit {commits}; {rows[0]['date'][:10]}; {machines}."


def write_page(path: Path, title: str, *paragraphs: str) -> None:
    """Write the page of one result file."""
    path.write_text("\n\n".join([f"# {title}", *paragraphs]) + "\n", encoding="utf-8")
    print(path)


def starts() -> str:
    """Meta-trained against random starts."""
    rows = read("first-light.csv")
    lines = []
    for column, threshold in {"iou": "calibrated", "plain_iou": "0.5"}.items():
        ious: dict[tuple[str, ...], dict[tuple[str, str], float]] = defaultdict(dict)
        for row in rows:
            cell = row["target"], row["steps"], row["k_shot"]
            ious[cell][row["start"], row["selection"]] = float(row[column])
        for (target, steps, k_shot), of in sorted(ious.items(), key=_in_order):
            both = sorted(s for start, s in of if start == "meta" and ("random", s) in of)
            random, meta = ([of[start, s] for s in both] for start in ("random", "meta"))
            gains = [m - r for m, r in zip(meta, random, strict=True)]
            verdict = "yes" if mean(gains) >= BARS[target] else "**no**"
            lines.append(
                [target, steps, k_shot, threshold, spread(random), spread(meta), spread(gains),
                 f"{BARS[target]:.2f}", verdict, str(len(both))]
            )  # fmt: skip
    header = [
        "target",
        "steps",
        "K",
        "threshold",
        "random start",
        "meta-trained start",
        "gain",
        "bar",
        "met",
        "n",
    ]
    took = {
        steps: median(float(row["seconds"]) for row in rows if row["steps"] == steps)
        for steps in sorted({row["steps"] for row in rows}, key=int)
    }
    times = ", ".join(f"{seconds:.1f} s for {steps} steps" for steps, seconds in took.items())
    foot = (
        f"n: selections. Test images of each: {rows[0]['n_test']}. Median fine-tuning time on one thread "
        f"beside other work, calibration included: {times}. {origin(rows)}"
    )
    return table(header, lines) + f"\n\n{foot}"


def _in_order(item: tuple[tuple[str, ...], object]) -> tuple[str, int, int]:
    target, steps, k_shot = item[0]
    return target, -int(steps), int(k_shot)


def simulated() -> str:
    """Bundled and random starts of both networks on the simulated micrographs."""
    rows = read("simulated.csv")
    of: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        of[row["network"], row["start"]].append(row)
    lines = [
        [network, start, spread([float(r["iou"]) for r in group]),
         f"{median(float(r['seconds']) for r in group):.1f}", str(len(group))]
        for (network, start), group in of.items()
    ]  # fmt: skip
    return table(["network", "start", "IoU", "median seconds", "n"], lines) + f"\n\n{origin(rows)}"


def trainings() -> str:
    """Every training behind these numbers."""
    cards = [*sorted(PRETRAINED.glob("*.json")), *sorted((RESULTS / "leave-one-out").glob("*/model.json"))]
    lines = []
    for path in cards:
        card = json.loads(path.read_text(encoding="utf-8"))
        settings = card["hyper_parameters"]
        names = ", ".join(source["name"] for source in card["sources"])
        start = path.parent.name if path.stem == "model" else path.stem
        lines.append(
            [start, names, str(settings["iterations"]), f"{settings['seconds'] / 60:.0f}",
             f"`{card['command']}`", card["commit"]]
        )  # fmt: skip
    return table(["start", "sources", "iterations", "minutes", "command", "commit"], lines)


def button() -> str:
    """Press to labels."""
    rows = read("button.csv")
    cells = itemgetter(
        "network", "annotation", "k_shot", "run", "first_seconds", "seconds", "iou", "stall_ms", "p99_ms"
    )
    lines = [list(cells(row)) for row in rows]
    shots = sorted({row["k_shot"] for row in rows}, key=int)
    heads = []
    for kind in dict.fromkeys((row["network"], row["annotation"]) for row in rows):
        of = {k: [r for r in rows if cells(r)[:3] == (*kind, k)] for k in shots}
        medians = ", ".join(f"{median(float(row['first_seconds']) for row in of[k]):.1f} s" for k in shots)
        longest = ", ".join(f"{max(int(row['stall_ms']) for row in of[k])} ms" for k in shots)
        heads.append(f"{kind[0]}, {kind[1]}, medians {medians} to the first labels, longest stalls {longest}")
    head = (
        f"With K = {', '.join(shots)}: {'; '.join(heads)} (bars for painted cells and K = 1: 15 s, 100 ms)."
    )
    columns = [
        "network", "annotation", "K", "run", "press to the first labels, s", "to all, s",
        "IoU with the truth", "longest stall, ms", "99th percentile, ms",
    ]  # fmt: skip
    return f"{head}\n\n{table(columns, lines)}\n\n{origin(rows)}"


def threads() -> str:
    """Main thread, worker thread, process."""
    rows = read("threads.csv")
    places: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        places[row["where"]].append(row)
    lines = [
        [place, f"{median(float(r['seconds']) for r in of):.1f}", str(max(int(r["stall_ms"]) for r in of)),
         str(max(int(r["p99_ms"]) for r in of))]
        for place, of in places.items()
    ]  # fmt: skip
    columns = ["where", "median seconds", "longest stall, ms", "99th percentile, ms (worst round)"]
    return f"{table(columns, lines)}\n\n{origin(rows)} {len(rows) // len(places)} rounds."


def main() -> None:
    """Fill the tables into the text."""
    text = (RESULTS / "first-light.template.md").read_text(encoding="utf-8")
    for name, make in {
        "starts": starts,
        "trainings": trainings,
        "simulated": simulated,
        "button": button,
        "threads": threads,
    }.items():
        text = text.replace(f"<!-- {name} -->", make())
    (RESULTS / "first-light.md").write_text(text, encoding="utf-8")
    print(RESULTS / "first-light.md")


if __name__ == "__main__":
    main()
