"""Does it pay to annotate next where the model is uncertain, instead of anywhere?

python benchmarks/annotate_next.py --data DATA --starts docs/results/leave-one-out pretrained/leave-one-out

A simulated annotator draws the truth in one image region after another, each some eight objects across, as
the panel suggests them. Every seed begins with the same region for both arms and fine-tunes. The next regions
come from the latest model (`uncertainty.rank_regions`) in one arm, and at random in the other. Neither arm
offers regions without a cell or without background. The IoU is that of the foreground on test images that are
never annotated. Writes docs/results/annotate-next.csv row by row; a stopped run continues where it was.
`benchmarks/annotate_next_report.py` makes docs/results/annotate-next.md from it.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, pstdev

import numpy as np
import torch

from fewshot_targets import TARGETS, Target, load_target
from napari_fewshot_cells.base.errors import FewShotError
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.support_set import SupportSet, make_shot, median_diameter
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.model import Model
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.prediction.metrics import iou
from napari_fewshot_cells.prediction.probability import predict
from napari_fewshot_cells.prediction.uncertainty import OBJECTS_ACROSS, Box, divide_plane, rank_regions
from napari_fewshot_cells.training import provenance
from napari_fewshot_cells.training.config import MODEL_FILE
from napari_fewshot_cells.training.curves_csv import append_rows

RANDOM, SUGGESTED = "random", "suggested"
ARMS = (RANDOM, SUGGESTED)
K_REGIONS = (1, 2, 3, 5)
POOL, N_TEST = 10, 10  # images; ssTEM has no more
LEAST_SHARE = 0.01  # of a region's pixels, for cells and for background

START_FOLDERS = ("fcrn-without-{}", "fcrn-{}-complete")
"""Names of a start that has not seen a target, as a folder or a file, here and in the protocol."""

KEY = ("seed", "target", "arm", "k_regions")
COLUMNS = (
    *KEY, "iou", "iou_sd", "regions", "fit_seconds", "rank_seconds", "test_seconds", "steps", "start",
    "n_pool", "n_test", "commit", "date", "machine",
)  # fmt: skip

Region = tuple[int, Box]
"""Number of the image in the pool, and the box in it."""


@dataclass(eq=False)
class Simulation:
    """One seed on one target: the pool, the test images, and the latest fit."""

    target: Target
    start: Model
    seed: int
    options: argparse.Namespace
    fitted: dict[tuple[Region, ...], tuple[Model, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        options, shots = self.options, self.target.shots
        if len(shots) < options.pool + options.n_test:
            raise FewShotError(f"The set {self.target.name} has {len(shots)} images; give a smaller --pool.")
        order = np.random.default_rng(self.seed).permutation(len(shots))
        self.pool = [shots[i] for i in order[: options.pool]]
        self.test = [shots[i] for i in order[options.pool : options.pool + options.n_test]]
        self.side = OBJECTS_ACROSS * median_diameter(SupportSet(tuple(self.pool)))
        usable = [region for region in self.regions() if self.is_usable(region)]
        again = np.random.default_rng([self.seed, 1]).permutation(len(usable))
        self.at_random = [usable[i] for i in again]

    def regions(self) -> list[Region]:
        """All regions of the pool."""
        return [
            (i, box) for i, shot in enumerate(self.pool) for box in divide_plane(shot.plane.shape, self.side)
        ]

    def is_usable(self, region: Region) -> bool:
        """Whether it holds both cells and background."""
        share = float(np.mean(self.truth(region) > 0))
        return LEAST_SHARE <= share <= 1 - LEAST_SHARE

    def truth(self, region: Region) -> np.ndarray:
        """Labels in a region."""
        image, (top, left, bottom, right) = region
        return self.pool[image].labels[top:bottom, left:right]

    def annotate(self, regions: Sequence[Region]) -> SupportSet:
        """A shot for each region: annotated completely inside the region, not at all outside."""
        shots = []
        for region in regions:
            image, (top, left, bottom, right) = region
            labels = np.zeros(self.pool[image].plane.shape, np.int32)
            labels[top:bottom, left:right] = self.truth(region) + 1
            shots.append(make_shot(self.pool[image].plane, labels))
        return SupportSet(tuple(shots))

    def fit(self, regions: Sequence[Region]) -> tuple[Model, float]:
        """The model fine-tuned on some regions, and the seconds it took; not done twice in a row."""
        key, options = tuple(regions), self.options
        if key not in self.fitted:
            begun = time.perf_counter()
            recipe = Recipe() if options.steps is None else Recipe().with_steps(options.steps)
            steps = fine_tune(
                self.start, self.annotate(regions), recipe=recipe, seed=self.seed, device=options.device
            )
            self.fitted = {key: (finish(steps), time.perf_counter() - begun)}
        return self.fitted[key]

    def next(self, regions: Sequence[Region], number: int, arm: str) -> list[Region]:
        """The regions so far, and `number` more."""
        if arm == RANDOM:
            chosen = self.at_random
        else:
            planes = [shot.plane for shot in self.pool]
            model, _ = self.fit(regions)
            ranked = finish(rank_regions(model, planes, side=self.side, device=self.options.device))
            chosen = [(region.plane, region.box) for region in ranked]
        more = [region for region in chosen if region not in regions and self.is_usable(region)]
        return [*regions, *more[:number]]

    def ious(self, model: Model) -> list[float]:
        """IoU on each test image."""
        return [
            iou(predict(model, shot.plane, device=self.options.device) > 0.5, shot.labels)
            for shot in self.test
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every missing row, seed by seed."""
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        starts = {name: find_start(name, options) for name in options.targets}
        rows = rows_so_far(options.out)
        for seed in range(options.seeds):
            for name in options.targets:
                simulate(name, seed, starts[name], rows, options)
    except FewShotError as error:
        raise SystemExit(str(error)) from error


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--starts", nargs="+", type=Path, default=[], help="folders of starts that have not seen the target"
    )
    parser.add_argument(
        "--bundled", action="store_true", help="if there is none, take one that has seen the target"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results/annotate-next.csv"))
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=["EM", "TNBC", "B39"])
    parser.add_argument("--k-regions", nargs="+", type=int, default=K_REGIONS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pool", type=int, default=POOL, help="images to choose regions from")
    parser.add_argument("--n-test", type=int, default=N_TEST)
    parser.add_argument("--steps", type=int, help="fine-tuning steps; by default the button's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    return parser.parse_args(arguments)


def find_start(target: str, options: argparse.Namespace) -> tuple[Model, str]:
    """A start, and its name in the results.

    Raises
    ------
    FewShotError
        If every start has seen the target, and --bundled is not given.
    """
    for folder, name in itertools.product(options.starts, START_FOLDERS):
        start = folder / name.format(target)
        for path in (start / MODEL_FILE, start.with_name(f"{start.name}.safetensors")):
            if path.is_file():
                return read_model(path), start.name
    if not options.bundled:
        where = " or ".join(map(str, options.starts)) or "any folder: --starts names none"
        raise FewShotError(
            f"There is no start without {target} in {where}; --bundled takes one that has seen it."
        )
    return load_model("fcrn"), "bundled fcrn"


def simulate(
    name: str,
    seed: int,
    start: tuple[Model, str],
    rows: dict[tuple[str, ...], str],
    options: argparse.Namespace,
) -> None:
    """Both arms of one seed on one target."""
    keys = {(arm, k): (str(seed), name, arm, str(k)) for arm in ARMS for k in sorted(options.k_regions)}
    if all(key in rows for key in keys.values()):
        return
    simulation = Simulation(load_target(name, options.data), start[0], seed, options)
    first: tuple[str, ...] | None = None
    for arm in ARMS:
        regions = simulation.at_random[:1]
        for k in sorted(options.k_regions):
            key = keys[arm, k]
            if key in rows:
                regions = from_text(rows[key])
                continue
            begun = time.perf_counter()
            if k > len(regions):
                regions = simulation.next(regions, k - len(regions), arm)
            rank_seconds = time.perf_counter() - begun
            if len(regions) < k:
                raise FewShotError(
                    f"The pool of {name} has only {len(regions)} regions; give a larger --pool."
                )
            model, fit_seconds = simulation.fit(regions)
            begun = time.perf_counter()
            if k == 1 and first is not None:
                measured = first  # the same in both arms
            else:
                ious = simulation.ious(model)
                measured = f"{mean(ious):.4f}", f"{pstdev(ious):.4f}"
            first = measured if k == 1 else first
            seconds = (fit_seconds, rank_seconds, time.perf_counter() - begun)
            steps = model.card.hyper_parameters["steps_done"]
            origin = (provenance.commit(), provenance.now(), provenance.machine(options.device))
            row = (
                *key, *measured, to_text(regions), *(f"{value:.2f}" for value in seconds), steps, start[1],
                len(simulation.pool), len(simulation.test), *origin,
            )  # fmt: skip
            options.out.parent.mkdir(parents=True, exist_ok=True)
            append_rows(options.out, COLUMNS, [row])
            rows[key] = to_text(regions)
            print(*key, measured[0], *(f"{value:.1f} s" for value in seconds), flush=True)


def to_text(regions: Sequence[Region]) -> str:
    """As in the file: image:top,left,bottom,right of each."""
    return " ".join(f"{image}:{','.join(map(str, box))}" for image, box in regions)


def from_text(text: str) -> list[Region]:
    """The regions that a row names."""
    regions = []
    for part in text.split():
        image, box = part.split(":")
        top, left, bottom, right = map(int, box.split(","))
        regions.append((int(image), (top, left, bottom, right)))
    return regions


def rows_so_far(path: Path) -> dict[tuple[str, ...], str]:
    """Regions of the rows in a file. Removes a last row that a killed run left unfinished.

    Raises
    ------
    FewShotError
        If the file holds something else.
    """
    if not path.exists():
        return {}
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        path.write_bytes(whole)
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = {tuple(row[column] for column in KEY): row["regions"] for row in reader}
    if whole and tuple(reader.fieldnames or ()) != COLUMNS:
        raise FewShotError(f"'{path}' holds no results of this benchmark; give another --out.")
    return rows


if __name__ == "__main__":
    main()
