"""What the forest's settings give on a few images: how those of `ForestSettings` were chosen.

python benchmarks/fewshot_forest_settings.py --data DATA

Whole masks of one image of three sets, two selections, two test images each, and IoU at the calibrated
threshold and at 0.5. Selections that the comparison does not use, so that the forest is not tuned on it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import mean

import fewshot_forest
from fewshot_forest import ForestSettings
from fewshot_targets import annotate, load_target
from napari_fewshot_cells.metrics import iou
from napari_fewshot_cells.training import provenance
from napari_fewshot_cells.training.curves import append_rows
from napari_fewshot_cells.training.protocol import select

TRIED = {
    "100 trees, 50000 pixels, 1 to 16 px, leaf 1": ForestSettings(),
    "1 to 8 px": ForestSettings(sigma_max=8),
    "1 to 32 px": ForestSettings(sigma_max=32),
    "leaf 10": ForestSettings(smallest_leaf=10),
    "10000 pixels": ForestSettings(pixels=10_000),
}
TARGETS = ("TNBC", "B39", "EM")
SELECTIONS = (100, 101)
N_TEST = 2
COLUMNS = (
    "setting",
    "target",
    "selection",
    "iou",
    "plain_iou",
    "threshold",
    "seconds",
    "commit",
    "date",
    "machine",
)


def main() -> None:
    """One row a setting, target and selection."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results/fewshot-forest.csv"))
    arguments = parser.parse_args()
    for name in TARGETS:
        target = load_target(name, arguments.data)
        for selection in SELECTIONS:
            support, test = select(len(target.shots), 1, selection, N_TEST)
            shots = annotate(target, support, "whole")
            for setting, settings in TRIED.items():
                begun = time.perf_counter()
                forest = fewshot_forest.grow(shots, settings)
                votes = [fewshot_forest.predict(forest, target.shots[i].plane) for i in test]
                seconds = time.perf_counter() - begun
                truths = [target.shots[i].labels for i in test]
                ious = [
                    mean(iou(v > cut, truth) for v, truth in zip(votes, truths, strict=True))
                    for cut in (forest.threshold, 0.5)
                ]
                origin = (provenance.commit(), provenance.now(), provenance.machine())
                numbers = (*(f"{value:.4f}" for value in ious), f"{forest.threshold:.2f}", f"{seconds:.1f}")
                append_rows(arguments.out, COLUMNS, [(setting, name, selection, *numbers, *origin)])
                print(setting, name, selection, *numbers, flush=True)


if __name__ == "__main__":
    main()
