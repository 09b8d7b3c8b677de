"""What a job of the paper's experiment costs: an inner loop, a meta step, a fine-tuning, a test image.

python benchmarks/scaling.py [--threads 1] [--device cpu]

Measures seconds against inner steps, crops, crop size, |S|, K and network. Simulated images serve, since
their content does not matter. Appends to docs/results/scaling.csv row by row; a stopped run continues where
it was, and rows of another device or number of threads stay. Takes about 8 minutes on one thread: run it when
nothing else runs. `benchmarks/scaling_report.py` makes the tables of docs/scaling.md from it.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from napari_fewshot_cells.base.host_process import keep_all_freed_memory
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.crops import to_sample
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.stride_crops import stride_crops
from napari_fewshot_cells.data.support_set import Shot, SupportSet, median_diameter
from napari_fewshot_cells.experiment.schedules import CPU_FINE_TUNING
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.paper_recipe import paper_fine_tune
from napari_fewshot_cells.finetune.recipe import PaperRecipe
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.prediction.probability import predict
from napari_fewshot_cells.simulate import electron_microscopy, fluorescent_cells
from napari_fewshot_cells.training import provenance
from napari_fewshot_cells.training.config import EpisodeShape, ReptileConfig
from napari_fewshot_cells.training.episodes import Task, draw_episode, to_device
from napari_fewshot_cells.training.ranks import open_fabric
from napari_fewshot_cells.training.reptile import get_theta, inner_loop, meta_step

ARCHS = ("fcrn", "unet")
SIDE = 512  # px, of the simulated images
BASE = EpisodeShape(k_shot=5, inner_steps=2, crops=5, other_crops=1, crop_size=128)
PAPER_STEP = EpisodeShape(k_shot=5, inner_steps=1, crops=5, other_crops=5, crop_size=256, rescale=False)
CPU_EPISODE = EpisodeShape()  # of the schedule "cpu"
ONE_EPOCH = PaperRecipe(
    epochs=1, stride=128
)  # instead of 20, and fewer crops: the cost of a crop is constant
COLUMNS = (
    "what", "arch", "sources", "k_shot", "inner_steps", "crops", "other_crops", "crop_size", "repeat",
    "seconds", "device", "threads", "commit", "date", "machine",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Something to time, described by the numbers that decide its cost; 0 if one plays no part."""

    what: str
    arch: str
    sources: int = 0
    k_shot: int = 0
    inner_steps: int = 0
    crops: int = 0
    other_crops: int = 0
    crop_size: int = 0

    @property
    def shape(self) -> EpisodeShape:
        """As an episode; at native scale for the paper's step."""
        numbers = (self.k_shot, self.inner_steps, self.crops, self.other_crops, self.crop_size)
        return EpisodeShape(*numbers, rescale=self.what != "paper's inner step")


def cases() -> Iterator[tuple[Case, int]]:
    """All cases, each with its number of repeats."""
    for arch in ARCHS:
        shapes = [
            *(replace(BASE, inner_steps=steps) for steps in (1, 2, 4, 8)),
            *(replace(BASE, crops=crops) for crops in (1, 10)),
            *(replace(BASE, crop_size=size) for size in (64, 96, 192, 256)),
        ]
        for shape in shapes:
            yield _case("inner loop", arch, 2, shape), 2
        yield _case("paper's inner step", arch, 2, PAPER_STEP), 2
        yield _case("inner loop", arch, 2, CPU_EPISODE), 2
        for k_shot, steps in ((1, 5), (5, 5), (10, 5), (5, 15)):
            yield Case("fine-tuning", arch, k_shot=k_shot, inner_steps=steps), 1
        yield Case("test image", arch), 3
    for sources, k_shot in ((2, 1), (2, 5), (2, 10), (4, 5)):
        yield _case("meta step", "fcrn", sources, replace(CPU_EPISODE, k_shot=k_shot)), 1
    for arch, k_shot in (("fcrn", 1), ("fcrn", 3), ("unet", 1)):
        yield Case("paper's epoch", arch, k_shot=k_shot, crops=n_windows(k_shot)), 1


def main() -> None:
    """Time every case that is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/scaling.csv"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    keep_all_freed_memory()
    torch.set_num_threads(arguments.threads)
    where = (arguments.device, str(arguments.threads))
    done = already_done(arguments.out)
    started = time.perf_counter()
    for case, repeats in cases():
        numbers = tuple(str(getattr(case, column)) for column in COLUMNS[:8])
        missing = [r for r in range(repeats) if (*numbers, str(r), *where) not in done]
        if not missing:
            continue
        work = prepare(case, arguments.device)
        work()  # the first allocates memory, which a training does once
        for repeat in missing:
            begun = time.perf_counter()
            work()
            seconds = time.perf_counter() - begun
            origin = (provenance.commit(), provenance.now(), provenance.machine(arguments.device))
            append(arguments.out, (*numbers, repeat, f"{seconds:.4f}", *where, *origin))
            print(*numbers, repeat, f"{seconds:.3f} s", flush=True)
    print(f"{time.perf_counter() - started:.0f} s in all")


def prepare(case: Case, device: str) -> Callable[[], object]:
    """The work of a case, warmed up, because the first pass through a network includes set-up."""
    network = build_network(case.arch, 0).to(device)
    network(torch.zeros(1, 1, 128, 128, device=device))[0].mean().backward()
    fabric = open_fabric(device)
    config = ReptileConfig(episode=case.shape)
    model = Model(ModelCard("start", case.arch), network.cpu())
    if case.what == "meta step":
        network.to(device)
        tasks = simulated_tasks(case.sources)
        return lambda: list(meta_step(network, tasks, config, 0, fabric))
    if case.what == "fine-tuning":
        shots, recipe = support_set(case.k_shot), replace(CPU_FINE_TUNING, steps=case.inner_steps)
        return lambda: finish(fine_tune(model, shots, recipe=recipe, device=device))
    if case.what == "paper's epoch":
        shots = support_set(case.k_shot)
        return lambda: finish(paper_fine_tune(model, shots, recipe=ONE_EPOCH, device=device))
    if case.what == "test image":
        adapted = finish(
            fine_tune(model, support_set(1), recipe=replace(CPU_FINE_TUNING, steps=1, rescale=False))
        )
        plane = support_set(1).shots[0].plane
        return lambda: predict(adapted, plane, device=device)
    network.to(device)
    episode = draw_episode(simulated_tasks(case.sources), 0, case.shape, np.random.default_rng(0))
    theta = get_theta(network)
    return lambda: inner_loop(network, theta, to_device(episode, fabric.device), config, fabric)


def n_windows(k_shot: int) -> int:
    """Crops of one epoch of the paper's on `k_shot` images."""
    samples = [to_sample(shot, 1) for shot in support_set(k_shot).shots]
    return len(stride_crops(samples, ONE_EPOCH.crop_size, ONE_EPOCH.stride, ONE_EPOCH.min_foreground))


def simulated_tasks(n: int) -> list[Task]:
    """Source sets of ten images each, alternating fluorescence and electron micrographs."""
    return [simulated_task(f"set {m}", (fluorescent_cells, electron_microscopy)[m % 2], m) for m in range(n)]


def simulated_task(name: str, simulate: Callable[..., tuple[np.ndarray, np.ndarray]], m: int) -> Task:
    """One source set."""
    shots = tuple(
        Shot(to_plane(image, f"{name} {seed}"), labels, whole_image=True)
        for seed in range(10)
        for image, labels in [simulate((SIDE, SIDE), seed=100 * m + seed)]
    )
    diameters = tuple(median_diameter(SupportSet((shot,))) for shot in shots)
    return Task(name, shots, tuple(to_sample(shot, 1) for shot in shots), diameters)


def support_set(k_shot: int) -> SupportSet:
    """`k_shot` annotated images."""
    return SupportSet(simulated_task("target", fluorescent_cells, 9).shots[:k_shot])


def already_done(path: Path) -> set[tuple[str, ...]]:
    """Keys of the rows in a file."""
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {
            tuple(row[column] for column in (*COLUMNS[:9], "device", "threads"))
            for row in csv.DictReader(file)
        }


def append(path: Path, row: Sequence[object]) -> None:
    """Append a row, after the header if the file is new."""
    is_new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        csv.writer(file).writerows([COLUMNS, row] if is_new else [row])


def _case(what: str, arch: str, sources: int, shape: EpisodeShape) -> Case:
    numbers = (shape.k_shot, shape.inner_steps, shape.crops, shape.other_crops, shape.crop_size)
    return Case(what, arch, sources, *numbers)


if __name__ == "__main__":
    main()
