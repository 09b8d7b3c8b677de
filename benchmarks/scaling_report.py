"""Writes the tables of docs/scaling.md between their markers, from results/scaling.csv and results/ranks.csv.

python benchmarks/scaling_report.py
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_fewshot_cells.datasets.five_sets import PUBLISHED_SETS
from napari_fewshot_cells.experiment.matrix import K_SHOTS, SELECTIONS
from napari_fewshot_cells.experiment.methods import METHODS
from napari_fewshot_cells.experiment.schedules import (
    CPU_FINE_TUNING,
    PAPER_TRANSFER_STEPS,
    SCHEDULES,
)
from napari_fewshot_cells.finetune.recipe import PaperRecipe
from napari_fewshot_cells.models.model import CANONICAL_DIAMETER
from napari_fewshot_cells.models.networks import build_network

DOCS = Path(__file__).parents[1] / "docs"
PLACE = {"device": "cpu", "threads": "1"}  # as for a worker of the matrix on a processor
NAMES = {"fcrn": "FCRN", "unet": "U-Net"}
IMAGES = {  # height and width in px, median object diameter in px
    "B5": (520, 696, 33),
    "B39": (520, 696, 28),
    "ssTEM": (1024, 1024, 53),
    "EM": (768, 1024, 57),
    "TNBC": (512, 512, 18),
}
LOSSES = {"bce": 1, "bce+er": 2, "bce+d": 2, "complete": 3}  # sets of crops through the network
PAPER_STEP = "paper's inner step"
N_TEST = 10
GPU_FLOPS = 10e12
"""Assumed, sustained in training; see docs/scaling.md."""

Row = dict[str, str]


@dataclass(frozen=True)
class Hours:
    """Hours of one worker for the whole matrix of one network."""

    training: float
    fine_tuning: float
    testing: float
    testing_some: float

    @property
    def total(self) -> float:
        """With tests on `N_TEST` images each."""
        return self.training + self.fine_tuning + self.testing_some


def main() -> None:
    """Replace the text between the markers."""
    text = write_tables((DOCS / "scaling.md").read_text(encoding="utf-8"))
    (DOCS / "scaling.md").write_text(text, encoding="utf-8")
    print(DOCS / "scaling.md")


def write_tables(text: str) -> str:
    """The text with all tables made from the stored results."""
    rows = [row for row in read("scaling.csv") if row.items() >= PLACE.items()]
    for name, content in {
        "origin": origin(rows),
        "inner loops": inner_loops(rows),
        "meta steps": meta_steps(rows),
        "fine-tunings": fine_tunings(rows),
        "matrix": matrix_table(rows),
        "estimates": estimates(rows),
        "ranks": ranks(read("ranks.csv")),
    }.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text, n = re.subn(pattern, lambda m, c=content: f"{m[1]}{c}\n{m[2]}", text, flags=re.DOTALL)
        if n != 1:
            raise SystemExit(f"docs/scaling.md has {n} places for '{name}', not one.")
    return text


def read(name: str) -> list[Row]:
    """A table of results."""
    with (DOCS / "results" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def seconds(rows: Iterable[Row], what: str, arch: str, **numbers: int) -> float:
    """Median of the measured seconds."""
    wanted = {"what": what, "arch": arch, **{name: str(value) for name, value in numbers.items()}}
    return median(float(row["seconds"]) for row in rows if row.items() >= wanted.items())


def inner_loops(rows: Sequence[Row]) -> str:
    """An inner loop against inner steps, crops and crop size, one at a time."""
    base = {"inner_steps": 2, "crops": 5, "other_crops": 1, "crop_size": 128}
    lines = [
        [
            f"{words} {value}",
            *(f"{seconds(rows, 'inner loop', a, **{**base, name: value}):.2f}" for a in NAMES),
        ]
        for name, words, values in (
            ("inner_steps", "inner steps:", (1, 2, 4, 8)),
            ("crops", "annotated crops in a step:", (1, 5, 10)),
            ("crop_size", "crop size, px:", (64, 96, 128, 192, 256)),
        )
        for value in values
    ]
    paper = [f"{seconds(rows, PAPER_STEP, a):.2f}" for a in NAMES]
    lines.append(["the paper's inner step: 5 + 5 + 5 crops of 256 px", *paper])
    return table(["", *(f"{name}, s" for name in NAMES.values())], lines)


def meta_steps(rows: Sequence[Row]) -> str:
    """A meta step against |S| and K."""
    loop = seconds(rows, "inner loop", "fcrn", inner_steps=8, crop_size=96)
    lines = []
    for sources, k_shot in ((2, 1), (2, 5), (2, 10), (4, 5)):
        step = seconds(rows, "meta step", "fcrn", sources=sources, k_shot=k_shot)
        lines.append([str(sources), str(k_shot), f"{step:.2f}", f"{step / sources - loop:.2f}"])
    return table(["source sets", "K", "meta step, s", "drawing an episode, s"], lines)


def ranks(rows: Sequence[Row]) -> str:
    """Iterations on one rank and on several, from one run of the benchmark."""
    by_ranks: dict[int, list[float]] = {}
    for row in rows:
        by_ranks.setdefault(int(row["ranks"]), []).append(float(row["seconds"]))
    alone = median(by_ranks[1])
    lines = [
        [
            str(n),
            f"{median(of):.1f}",
            f"{min(of):.1f} to {max(of):.1f}",
            f"{alone / median(of):.2f}",
            str(len(of)),
        ]
        for n, of in sorted(by_ranks.items())
    ]
    return table(["ranks", "an iteration, s (median)", "from … to", "times as fast", "n"], lines)


def fine_tunings(rows: Sequence[Row]) -> str:
    """Fine-tunings against K, for both recipes."""
    lines = [
        [
            str(k_shot),
            *(f"{quick(rows, arch, k_shot):.0f}" for arch in NAMES),
            *(
                f"{k_shot * crop(rows, arch) * windows(512, 512) * PaperRecipe().epochs / 60:.0f}"
                for arch in NAMES
            ),
        ]
        for k_shot in (1, 5, 10)
    ]
    header = ["K", *(f"{n}, cpu, s" for n in NAMES.values()), *(f"{n}, paper, min" for n in NAMES.values())]
    return table(header, lines)


def matrix_table(rows: Sequence[Row]) -> str:
    """Hours of one worker for all 2,500 cells."""
    lines = []
    for schedule in ("cpu", "paper"):
        for arch, name in NAMES.items():
            of = hours(rows, schedule, arch)
            numbers = (of.training, of.fine_tuning, of.testing_some, of.testing, of.total)
            lines.append(
                [
                    schedule,
                    name,
                    *(f"{number:,.0f}" if number >= 10 else f"{number:.1f}" for number in numbers),
                ]
            )
    header = [
        "schedule", "network", "25 trainings", "1,250 fine-tunings", f"tests on {N_TEST} images",
        "tests on all images", f"sum with {N_TEST} images",
    ]  # fmt: skip
    return table(header, lines)


def estimates(rows: Sequence[Row]) -> str:
    """Hours of both networks on more workers, and on one GPU, from the same unit costs."""
    lines = []
    for schedule in ("cpu", "paper"):
        both = [hours(rows, schedule, arch) for arch in NAMES]
        starts = sum(h.training for h in both) / 50
        cells = sum(h.fine_tuning + h.testing_some for h in both) / 2500
        spent = [ceil(50 / n) * starts + ceil(2500 / n) * cells for n in (2, 16, 64, 256)]
        lines.append([schedule, *(f"{h:,.1f}" for h in spent), gpu_hours(rows, schedule)])
    header = ["schedule", *(f"{n} workers" for n in (2, 16, 64, 256)), "one GPU"]
    return table([f"{header[0]}", *(f"{name}, hours" for name in header[1:])], lines)


def gpu_hours(rows: Sequence[Row], schedule: str) -> str:
    """Hours at `GPU_FLOPS`; a training that ends by the clock takes as long anywhere."""
    spent = 0.0
    for arch in NAMES:
        of, faster = hours(rows, schedule, arch), crop(rows, arch) / (flops(arch) / GPU_FLOPS)
        training = of.training if schedule == "cpu" else of.training / faster
        spent += training + (of.fine_tuning + of.testing_some) / faster
    return f"{spent:,.1f}"


def hours(rows: Sequence[Row], schedule: str, arch: str) -> Hours:
    """Hours of one worker for all cells of a network, from the unit costs."""
    per_cell = len(METHODS) * SELECTIONS
    per_image = seconds(rows, "test image", arch) / 512**2
    plan = SCHEDULES[schedule]
    testing = testing_some = fine_tuning = 0.0
    for name, (height, width, diameter) in IMAGES.items():
        scale = CANONICAL_DIAMETER / diameter if schedule == "cpu" else 1.0
        image = per_image * height * width * scale**2
        n_images = PUBLISHED_SETS[name].official_pairs - 10
        testing += per_cell * len(K_SHOTS) * n_images * image
        testing_some += per_cell * len(K_SHOTS) * min(N_TEST, n_images) * image
        if schedule == "cpu":
            fine_tuning += per_cell * sum(quick(rows, arch, k) for k in K_SHOTS)
        else:
            epochs = PaperRecipe().epochs * windows(height, width) * crop(rows, arch)
            fine_tuning += per_cell * sum(K_SHOTS) * epochs
    if plan.meta_budget.minutes is not None and plan.transfer_budget.minutes is not None:
        training = 5 * 60 * (4 * plan.meta_budget.minutes + plan.transfer_budget.minutes)
    else:
        episode, meta_steps_ = plan.reptile.episode, plan.meta_budget.meta_steps or 0
        step = seconds(rows, PAPER_STEP, arch)
        sets = sum(LOSSES.values()) / LOSSES["complete"]
        reptile = meta_steps_ * 4 * episode.inner_steps * step * sets
        training = 5 * (reptile + PAPER_TRANSFER_STEPS * plan.transfer.batch * crop(rows, arch))
    return Hours(*(value / 3600 for value in (training, fine_tuning, testing, testing_some)))


def quick(rows: Sequence[Row], arch: str, k_shot: int) -> float:
    """Seconds of the schedule "cpu"'s fine-tuning: measured with few steps, extrapolated to all."""
    few, more = (seconds(rows, "fine-tuning", arch, k_shot=5, inner_steps=steps) for steps in (5, 15))
    step = (more - few) / 10
    measured = {k: seconds(rows, "fine-tuning", arch, k_shot=k, inner_steps=5) for k in (1, 5, 10)}
    return measured.get(k_shot, (measured[1] + measured[10]) / 2) + (CPU_FINE_TUNING.steps - 5) * step


def crop(rows: Iterable[Row], arch: str) -> float:
    """Seconds of one crop of 256 px in the paper's fine-tuning."""
    return median(
        float(row["seconds"]) / int(row["crops"])
        for row in rows
        if (row["what"], row["arch"]) == ("paper's epoch", arch)
    )


def windows(height: int, width: int) -> int:
    """Crops of an image at the paper's stride, including those without foreground."""
    recipe = PaperRecipe()
    per_side = (ceil(max(0, side - recipe.crop_size) / recipe.stride) + 1 for side in (height, width))
    rows, columns = per_side
    return rows * columns


def flops(arch: str) -> float:
    """Floating-point operations of a training step on one crop of 256 px."""
    network = build_network(arch, 0)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, 256, 256))[0].mean().backward()
    return float(counter.get_total_flops())


def origin(rows: Sequence[Row]) -> str:
    """Where the numbers come from."""
    commits, machines = (sorted({row[name] for row in rows}) for name in ("commit", "machine"))
    return f"Measured at commit {', '.join(commits)} on {'; '.join(machines)}, one thread."


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines))


if __name__ == "__main__":
    main()
