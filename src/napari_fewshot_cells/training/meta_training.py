"""A whole meta-training run: iterations of Algorithm 1 with checkpoints and curves in one folder."""

from __future__ import annotations

import csv
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..errors import ModelError
from ..models import Model, ModelCard, read_model, write_model
from ..networks import SegmentationNetwork, build_network, reset_statistics
from . import provenance
from .reptile import InnerLosses, ReptileConfig, Theta, get_theta, meta_step, set_theta
from .sources import SourceSet
from .tasks import Task

MODEL_FILE = "model.safetensors"
CURVES_FILE = "curves.csv"
CURVES = ("iteration", "seconds", "task", "bce", "entropy", "distillation", "last_bce")

_CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class MetaProgress:
    """After each inner loop.

    Attributes
    ----------
    iteration : int
        The one going on, from 1.
    seconds : float
        Trained so far, earlier parts of a resumed run included.
    losses : InnerLosses
    """

    iteration: int
    seconds: float
    losses: InnerLosses


@dataclass(frozen=True)
class Budget:
    """When to stop: after so many iterations, or minutes of training, whatever comes first."""

    meta_steps: int | None = None
    minutes: float | None = None

    def is_spent(self, iteration: int, seconds: float) -> bool:
        """Whether a run of this many iterations and seconds is over."""
        if self.meta_steps is not None and iteration >= self.meta_steps:
            return True
        return self.minutes is not None and seconds >= 60 * self.minutes


def new_card(
    architecture: str, sources: Sequence[SourceSet], config: ReptileConfig, *, command: str, device: str
) -> ModelCard:
    """The card of a run that begins now."""
    names = [source.name for source in sources]
    return ModelCard(
        name=f"{architecture}-{'-'.join(names)}",
        architecture=architecture,
        sources=tuple(
            {"name": s.name, "images": len(s.pairs), "licence": s.licence, "citation": s.citation}
            for s in sources
        ),
        licence="BSD-3-Clause; see the licences of the sources",
        hyper_parameters={**config.as_dict(), "iterations": 0, "seconds": 0.0},
        seed=config.seed,
        commit=provenance.commit(),
        command=command,
        date=provenance.now(),
        machine=provenance.machine(device),
        batch_norm="image",
        notes="Meta-trained start (Reptile with L_BCE, L_ER and L_D); fine-tune it before use.",
    )


def meta_train(
    folder: Path,
    card: ModelCard,
    tasks: Sequence[Task],
    config: ReptileConfig,
    budget: Budget,
    *,
    device: str = "cpu",
) -> Generator[MetaProgress, None, Model]:
    """Train until the budget is spent, in a folder that always holds the last checkpoint.

    A run in a folder with a checkpoint goes on from there: on one machine with the same number of threads
    the result is that of a run that never stopped, bit for bit. Closing the generator, also by Ctrl-C,
    keeps the last complete iteration.

    Yields
    ------
    MetaProgress

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        The folder's checkpoint was made with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network, card = _start_or_resume(folder / MODEL_FILE, card, config)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    iteration = saved = int(card.hyper_parameters["iterations"])
    trained = before = float(card.hyper_parameters["seconds"])
    _cut_curves(folder / CURVES_FILE, iteration)
    theta, started, last_save = get_theta(network), time.perf_counter(), time.perf_counter()
    try:
        while not budget.is_spent(iteration, trained):
            rows = []
            for losses in meta_step(network, tasks, config, iteration):
                trained = before + time.perf_counter() - started
                rows.append(MetaProgress(iteration + 1, trained, losses))
                yield rows[-1]
            iteration, theta = iteration + 1, get_theta(network)
            _append_curves(folder / CURVES_FILE, rows)
            if time.perf_counter() - last_save > _CHECKPOINT_SECONDS:
                _save(folder, network, theta, card, iteration, trained)
                saved, last_save = iteration, time.perf_counter()
    finally:
        if saved < iteration or iteration == 0:
            _save(folder, network, theta, card, iteration, trained)
    return read_model(folder / MODEL_FILE)


def _start_or_resume(
    path: Path, card: ModelCard, config: ReptileConfig
) -> tuple[SegmentationNetwork, ModelCard]:
    if not path.exists():
        return build_network(card.architecture, config.seed), card
    model = read_model(path)

    def settings(of: ModelCard) -> tuple[object, ...]:
        values = {k: v for k, v in of.hyper_parameters.items() if k not in ("iterations", "seconds")}
        return of.architecture, [(s["name"], s["images"]) for s in of.sources], values

    if settings(model.card) != settings(card):
        raise ModelError(f"'{path}' was trained with other settings; give them, or another --out folder.")
    # What is known of a source's licence may have been corrected since.
    return model.network, replace(model.card, sources=card.sources, command=card.command, commit=card.commit)


def _save(
    folder: Path, network: SegmentationNetwork, theta: Theta, card: ModelCard, iteration: int, seconds: float
) -> None:
    set_theta(network, theta)
    reset_statistics(network)
    done = {**card.hyper_parameters, "iterations": iteration, "seconds": round(seconds, 1)}
    card = replace(card, hyper_parameters=done, date=provenance.now())
    write_model(Model(card, network), folder / MODEL_FILE)


def _append_curves(path: Path, rows: Sequence[MetaProgress]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(CURVES)
        for row in rows:
            terms = (row.losses.bce, row.losses.entropy, row.losses.distillation, row.losses.last_bce)
            numbers = (f"{term:.6f}" for term in terms)
            writer.writerow([row.iteration, f"{row.seconds:.1f}", row.losses.task, *numbers])


def _cut_curves(path: Path, iteration: int) -> None:
    """Drop the rows of iterations after the checkpoint: they will be run again."""
    if not path.exists():
        return
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *(row for row in rows if int(row[0]) <= iteration)])
