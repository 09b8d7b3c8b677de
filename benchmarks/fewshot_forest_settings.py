"""The forest's settings measured on a few images: how those of `ForestSettings` were chosen.

python benchmarks/fewshot_forest_settings.py --data DATA

Whole masks of one image, on three sets, with two selections and two test images each. IoU at three
thresholds: the best on the shot out of bag, that one drawn towards 0.5, and 0.5. The selections are not those
of the comparison, so the forest is not tuned on its test images.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import mean

import numpy as np

import fewshot_forest
from fewshot_forest import Forest, ForestSettings, features
from fewshot_targets import Target, annotate, load_target
from napari_fewshot_cells.data.support_set import Shot
from napari_fewshot_cells.experiment.few_shot_test import select
from napari_fewshot_cells.prediction.metrics import iou
from napari_fewshot_cells.training import provenance
from napari_fewshot_cells.training.curves_csv import append_rows

BASE = ForestSettings(pixels=20_000, sigma_max=16, smallest_leaf=1)
TRIED = {
    "20000 pixels, 1 to 16 px, leaf 1": BASE,
    "leaf 10": replace(BASE, smallest_leaf=10),
    "1 to 8 px": replace(BASE, sigma_max=8),
    "1 to 32 px": replace(BASE, sigma_max=32),
    "leaf 10, 50000 pixels": replace(BASE, smallest_leaf=10, pixels=50_000),
}
TARGETS = ("TNBC", "B39", "EM")
SELECTIONS = (100, 101)
N_TEST = 2
TEST_PIXELS = 20_000  # of each test image, at random: enough for an IoU, and much quicker
COLUMNS = (
    "setting", "target", "selection", "calibrated_iou", "drawn_iou", "plain_iou", "best", "seconds",
    "commit", "date", "machine",
)  # fmt: skip


def main() -> None:
    """One row a setting, target and selection."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results/fewshot-forest.csv"))
    arguments = parser.parse_args()

    @cache
    def target_of(name: str) -> Target:
        return load_target(name, arguments.data)

    for setting, name, selection in itertools.product(TRIED, TARGETS, SELECTIONS):
        target = target_of(name)
        support, test = select(len(target.shots), 1, selection, N_TEST)
        shots = annotate(target, support, "whole")
        begun = time.perf_counter()
        forest = fewshot_forest.grow(shots, TRIED[setting])
        ious = [scores(forest, target.shots[i]) for i in test]
        seconds = time.perf_counter() - begun
        origin = (provenance.commit(), provenance.now(), provenance.machine())
        numbers = (*(f"{mean(values):.3f}" for values in zip(*ious, strict=True)), f"{forest.best:.2f}")
        append_rows(arguments.out, COLUMNS, [(setting, name, selection, *numbers, f"{seconds:.0f}", *origin)])
        print(setting, name, selection, *numbers, flush=True)


def scores(forest: Forest, shot: Shot) -> list[float]:
    """IoU at the three thresholds."""
    values = features(shot.plane, forest.settings)
    chosen = np.random.default_rng(0).choice(shot.labels.size, TEST_PIXELS, replace=False)
    votes = forest.classifier.predict_proba(values.reshape(-1, values.shape[-1])[chosen])[:, 1]
    return [iou(votes > cut, shot.labels.ravel()[chosen]) for cut in (forest.best, forest.threshold, 0.5)]


if __name__ == "__main__":
    main()
