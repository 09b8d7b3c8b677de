"""Leave one set out: what is a meta-trained start worth against a random one, under the same fine-tuning?

python benchmarks/first_light.py --data DATA --starts RUNS [--device cpu]

RUNS holds fcrn-without-EM and fcrn-without-TNBC, as `napari-fewshot-train meta --target` writes them. Writes
docs/results/first-light.csv, one row for each fine-tuning, at once; a stopped run continues where it was.
`benchmarks/report.py` makes the tables of docs/results/first-light.md from it.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from pathlib import Path

import torch

from napari_fewshot_cells.datasets.five_sets import find_sources
from napari_fewshot_cells.experiment.few_shot_test import few_shot_iou, select
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.training import provenance
from napari_fewshot_cells.training.episodes import load_task

TARGETS = ("EM", "TNBC")
K_SHOTS = (1, 5)
STEPS = (30, 8)  # at any K, although the button takes more for more shots; and a short fine-tuning
N_TEST = 20
COLUMNS = (
    "target", "start", "k_shot", "selection", "steps", "iou", "plain_iou", "seconds",
    "n_test", "iterations", "seed", "commit", "date", "machine",
)  # fmt: skip


def main() -> None:
    """Run every missing cell of the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--starts", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results/first-light.csv"))
    parser.add_argument("--selections", type=int, default=3)
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--steps", nargs="+", type=int, default=STEPS)
    parser.add_argument("--which", nargs="+", default=("random", "meta"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    done = already_done(arguments.out)
    for target in arguments.targets:
        task = load_task(find_sources(arguments.data, (target,))[target])
        meta = read_model(arguments.starts / f"fcrn-without-{target}" / "model.safetensors")
        starts = {"random": Model(ModelCard("random", "fcrn"), build_network("fcrn", 0)), "meta": meta}
        for steps, selection, k_shot, start in itertools.product(
            arguments.steps, range(arguments.selections), K_SHOTS, arguments.which
        ):
            if (target, start, str(k_shot), str(selection), str(steps)) in done:
                continue
            support, test = select(len(task.shots), k_shot, selection, N_TEST)
            result = few_shot_iou(
                starts[start],
                task,
                support,
                test,
                recipe=Recipe(steps=steps, steps_per_shot=0, crops=8, balance=1.0, refine=False, views=1),
                seed=selection,
                device=arguments.device,
            )
            iterations = meta.card.hyper_parameters["iterations"] if start == "meta" else 0
            row = (
                target, start, k_shot, selection, steps, f"{result.iou:.4f}", f"{result.plain_iou:.4f}",
                f"{result.seconds:.1f}", len(test), iterations, selection,
                provenance.commit(), provenance.now(), provenance.machine(arguments.device),
            )  # fmt: skip
            append(arguments.out, row)
            print(*row[:8], flush=True)


def already_done(path: Path) -> set[tuple[str, ...]]:
    """Keys of the rows in a file."""
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {tuple(row[column] for column in COLUMNS[:5]) for row in csv.DictReader(file)}


def append(path: Path, row: tuple[object, ...]) -> None:
    """Append a row, after the header if the file is new."""
    is_new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        csv.writer(file).writerows([COLUMNS, row] if is_new else [row])


if __name__ == "__main__":
    main()
