"""Our few-shot adaptation against everything else a user could pick, leaving one set out.

python benchmarks/fewshot.py --data DATA --starts OUT/starts [--methods ours forest] [--targets EM phase]

OUT holds the starts as `napari-fewshot-train protocol` writes them: starts/fcrn-EM-complete and so on. Writes
docs/results/fewshot.csv row by row, the first selection of everything first; a stopped run continues where it
was. Several --steps, --epochs, --trees or --pixels give points of the curve of IoU against seconds.
`benchmarks/fewshot_report.py` makes docs/results/fewshot.md from it. Times count only if nothing else runs.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import mean, pstdev
from typing import get_args

import numpy as np
import torch

from fewshot_forest import ForestSettings
from fewshot_methods import METHODS, Starts, Variant, variants
from fewshot_targets import ANNOTATIONS, PHASE, TARGETS, Target, annotate, load_target
from napari_fewshot_cells.base.devices import Precision
from napari_fewshot_cells.base.errors import FewShotError
from napari_fewshot_cells.base.host_process import keep_all_freed_memory
from napari_fewshot_cells.data.plane import Labels
from napari_fewshot_cells.data.support_set import median_diameter
from napari_fewshot_cells.datasets.five_sets import SMALLEST_OBJECT
from napari_fewshot_cells.experiment.few_shot_test import select
from napari_fewshot_cells.experiment.plan import Start
from napari_fewshot_cells.finetune.recipe import PaperRecipe
from napari_fewshot_cells.models.model import Model
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.prediction.instances import label_instances
from napari_fewshot_cells.prediction.metrics import average_precision, iou
from napari_fewshot_cells.training import provenance
from napari_fewshot_cells.training.config import MODEL_FILE
from napari_fewshot_cells.training.curves_csv import append_rows

K_SHOTS = (1, 3, 5, 10)
N_TEST = 10  # ssTEM has no more beyond the largest support set
PHASE_STARTS = "TNBC"
"""The simulated domain is in no source set. It takes the starts that were trained without this set."""

KEY = ("selection", "target", "k_shot", "annotation", "method", "setting")
COLUMNS = (
    *KEY, "iou", "iou_sd", "ap50", "seconds", "fit_seconds", "predict_seconds", "n_test", "iterations",
    "seed", "commit", "date", "machine",
)  # fmt: skip
"""iou_sd: over the test images. seconds: from press to labels, for fitting and one image."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every missing cell of the table."""
    options = parse(arguments)
    keep_all_freed_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    chosen = [
        variant
        for variant in variants(
            options.device, options.steps, options.epochs, options.trees, options.pixels, options.precision
        )
        if variant.method in options.methods
    ]
    try:
        run(chosen, options)
    except FewShotError as error:
        raise SystemExit(str(error)) from error


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--starts", type=Path, help="needed by transfer, paper, fcrn and ours")
    parser.add_argument("--out", type=Path, default=Path("docs/results/fewshot.csv"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--k-shots", nargs="+", type=int, default=K_SHOTS)
    parser.add_argument("--annotations", nargs="+", choices=ANNOTATIONS, default=ANNOTATIONS)
    parser.add_argument("--selections", type=int, default=10)
    parser.add_argument("--n-test", type=int, default=N_TEST)
    parser.add_argument(
        "--steps", nargs="+", type=int, default=[], help="of the networks, instead of the button's"
    )
    parser.add_argument(
        "--epochs", nargs="+", type=int, default=[PaperRecipe().epochs], help="of the paper's recipe"
    )
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="32-true", help="of the paper's recipe"
    )
    parser.add_argument("--trees", nargs="+", type=int, default=[ForestSettings().trees])
    parser.add_argument("--pixels", nargs="+", type=int, default=[ForestSettings().pixels])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of the networks and of the forest")
    options = parser.parse_args(arguments)
    if options.starts is None and {"transfer", "paper", "fcrn", "ours"} & set(options.methods):
        parser.error("transfer, paper, fcrn and ours need --starts")
    return options


def run(chosen: Sequence[Variant], options: argparse.Namespace) -> None:
    """Measure what is missing, selection by selection."""

    @lru_cache(maxsize=1)  # a set takes up to 1 GB
    def target_of(name: str) -> Target:
        return load_target(name, options.data)

    @lru_cache
    def start_of(target: str, start: tuple[str, str]) -> Model:
        left_out = PHASE_STARTS if target == PHASE else target
        return read_model(options.starts / Start(start[0], left_out, start[1]).key / MODEL_FILE)

    for name, variant in itertools.product(options.targets, chosen):
        if variant.start is not None:
            start_of(name, variant.start)  # reports a missing one now, not after hours
    rows = rows_so_far(options.out)
    done = {tuple(row[column] for column in KEY) for row in rows}
    for selection, name, k_shot, annotation, variant in itertools.product(
        range(options.selections), options.targets, options.k_shots, options.annotations, chosen
    ):
        key = (str(selection), name, str(k_shot), annotation, variant.method, variant.setting)
        if key in done or (annotation == "scribbles" and not variant.takes_scribbles):
            continue
        target = target_of(name)
        support, test = select(len(target.shots), k_shot, selection, options.n_test)
        check_same_test(rows, name, len(test), options.out)
        start = None if variant.start is None else start_of(name, variant.start)
        result = measure(
            variant, target, support, test, annotation, lambda kind, n=name: start_of(n, kind), selection
        )
        iterations = 0 if start is None else start.card.hyper_parameters["iterations"]
        precision = options.precision if variant.method == "paper" else "32-true"
        machine = provenance.machine(options.device, precision)
        origin = (provenance.commit(), provenance.now(), machine)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        append_rows(options.out, COLUMNS, [(*key, *result, len(test), iterations, selection, *origin)])
        print(*key[:5], *result[:4], flush=True)


def measure(
    variant: Variant,
    target: Target,
    support: Sequence[int],
    test: Sequence[int],
    annotation: str,
    starts: Starts,
    seed: int,
) -> tuple[str, ...]:
    """Fit once and predict all test images.

    Returns IoU, its spread, AP, and seconds: total, of fitting, and of prediction. The last are those of the
    first test image, labels included.
    """
    shots = annotate(target, support, annotation)
    begun = time.perf_counter()
    fitted = variant.fit(shots, starts, seed)
    fit_seconds = time.perf_counter() - begun
    diameter = median_diameter(shots)
    predict_seconds = 0.0
    ious, precisions = [], []
    for number, i in enumerate(test):
        truth = target.shots[i]
        begun = time.perf_counter()
        maps = fitted.predict(truth.plane)
        if target.instances or number == 0:
            labels = label_instances(
                maps.probability, contact=maps.contact, threshold=fitted.threshold, diameter=diameter
            )
        if number == 0:
            predict_seconds = time.perf_counter() - begun
        ious.append(iou(maps.probability > fitted.threshold, truth.labels))
        if target.instances:
            precisions.append(average_precision(labels, without_specks(truth.labels)))
    seconds = (fit_seconds + predict_seconds, fit_seconds, predict_seconds)
    ap50 = f"{mean(precisions):.4f}" if precisions else ""
    return f"{mean(ious):.4f}", f"{pstdev(ious):.4f}", ap50, *(f"{value:.2f}" for value in seconds)


def without_specks(labels: Labels) -> Labels:
    """The instances without the specks in the masks that are too small for a cell."""
    areas = np.bincount(labels.ravel())
    return np.where(areas[labels] >= SMALLEST_OBJECT, labels, 0).astype(np.int32)


def rows_so_far(path: Path, columns: Sequence[str] = COLUMNS) -> list[dict[str, str]]:
    """Rows of a file. Removes a last row that a killed run left unfinished.

    Raises
    ------
    FewShotError
        If the file holds something else.
    """
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        path.write_bytes(whole)
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if whole and tuple(reader.fieldnames or ()) != tuple(columns):
        raise FewShotError(f"'{path}' holds no results of this benchmark; give another --out.")
    return rows


def check_same_test(rows: Iterable[dict[str, str]], target: str, n_test: int, path: Path) -> None:
    """Make sure that all methods are tested on the same images.

    Raises
    ------
    FewShotError
        If results of this target were tested on more or fewer images, or there is no image to test on.
    """
    if n_test == 0:
        raise FewShotError(f"The set {target} has no image to test on; it needs more than ten.")
    other = {int(row["n_test"]) for row in rows if row["target"] == target} - {n_test}
    if other:
        raise FewShotError(
            f"'{path}' holds results of {target} on {other.pop()} test images, not {n_test}; "
            "give --n-test as before, or another --out."
        )


if __name__ == "__main__":
    main()
