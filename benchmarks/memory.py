"""Memory of the window over rounds of the button: resident set after each, against that after the third.

xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/memory.py [--rounds 20] [--steps 8]

FCRN on the simulated 512×512 sample, preview on. Each round fine-tunes, predicts, and scores its model. It
has fewer steps than the button's, to save time; as much memory is kept. Writes memory.csv and memory.md in
docs/results.
"""

from __future__ import annotations

import argparse
import csv
import gc
from collections.abc import Sequence
from pathlib import Path

import psutil

from report import Row, origin, read, table, write_page
from window import open_window, wait

COLUMNS = ("round", "rss_mib", "steps", "commit", "date", "machine")


def main() -> None:
    """Press the button many times in one window."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("docs/results/memory.csv"))
    arguments = parser.parse_args()
    from napari_fewshot_cells.finetune.recipe import Recipe
    from napari_fewshot_cells.training import provenance

    process, rows = psutil.Process(), []
    with open_window() as (_, panel):
        panel.session.choose(recipe=Recipe(steps=arguments.steps))
        for number in range(1, arguments.rounds + 1):
            panel.fine_tune_button.click()
            wait(lambda: not panel.session.busy and not panel.rounds.measuring)
            gc.collect()
            rss = process.memory_info().rss / 2**20
            stamp = (provenance.commit(), provenance.now(), provenance.machine())
            rows.append((number, f"{rss:.0f}", arguments.steps, *stamp))
            print(number, f"{rss:.0f} MiB", flush=True)
    with arguments.out.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    report(read(arguments.out.name), arguments.out.with_suffix(".md"))


def report(rows: Sequence[Row], path: Path) -> None:
    """As a page."""
    mib = [float(row["rss_mib"]) for row in rows]
    growth = f"{mib[-1] / mib[2] - 1:+.1%}"
    write_page(
        path,
        "Memory over rounds of the button",
        "Made by `python benchmarks/memory.py`: the resident set of napari with the panel, after each round "
        "of fine-tuning, predicting and scoring one simulated 512×512 image "
        f"({rows[0]['steps']} steps a round).",
        table(["round", "MiB"], [[row["round"], row["rss_mib"]] for row in rows]),
        f"Round {len(rows)} against round 3: {growth} (bar: 10 %).",
        origin(rows),
    )
    print(f"last against third: {growth}")


if __name__ == "__main__":
    main()
