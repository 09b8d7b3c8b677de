"""Memory of the window over rounds of the button: resident set after each, against that after the third.

xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/memory.py [--rounds 20] [--steps 8]

FCRN on the simulated 512×512 sample, preview on; each round fine-tunes, predicts, and scores its model. Fewer
steps than the button's take less time and keep as much. Writes memory.csv and
memory.md in docs/results.
"""

from __future__ import annotations

import argparse
import csv
import gc
import os
import tempfile
from pathlib import Path

import napari
import psutil

from button import wait

COLUMNS = ("round", "rss_mib", "steps", "commit", "date", "machine")


def main() -> None:
    """Press it many times in one window."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("docs/results/memory.csv"))
    arguments = parser.parse_args()
    from napari_fewshot_cells.finetune import Recipe
    from napari_fewshot_cells.training import provenance

    process, rows = psutil.Process(), []
    with tempfile.TemporaryDirectory() as home:
        os.environ["NAPARI_FEWSHOT_HOME"] = home
        viewer = napari.Viewer()
        viewer.open_sample("napari-fewshot-cells", "fluorescent_cells")
        _, panel = viewer.window.add_plugin_dock_widget("napari-fewshot-cells", "Few-shot segmentation")
        wait(panel.fine_tune_button.isEnabled)
        panel.session.choose(recipe=Recipe(steps=arguments.steps))
        for number in range(1, arguments.rounds + 1):
            panel.fine_tune_button.click()
            wait(lambda: not panel.session.busy and not panel.rounds.measuring)
            gc.collect()
            rss = process.memory_info().rss / 2**20
            origin = (provenance.commit(), provenance.now(), provenance.machine())
            rows.append((number, f"{rss:.0f}", arguments.steps, *origin))
            print(number, f"{rss:.0f} MiB", flush=True)
        viewer.close()
    with arguments.out.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    told = {row[0]: float(row[1]) for row in rows}
    growth = f"{told[len(rows)] / told[3] - 1:+.1%}"
    page = [
        "# Memory over rounds of the button",
        "Resident set of napari with the panel after each round of fine-tuning, predicting and scoring one",
        f"simulated 512×512 image, by `python benchmarks/memory.py` ({arguments.steps} steps a round).",
        "",
        "| round | MiB |",
        "| --- | ---: |",
        *(f"| {number} | {mib:.0f} |" for number, mib in told.items()),
        "",
        f"Round {len(rows)} against round 3: {growth} (bar: 10 %).",
        "",
        f"Commit {rows[-1][3]}; {rows[-1][4][:10]}; {rows[-1][5]}.",
    ]
    arguments.out.with_suffix(".md").write_text("\n".join(page) + "\n", encoding="utf-8")
    print(f"last against third: {growth}")


if __name__ == "__main__":
    main()
