"""A meta-training run: iterations of Algorithm 1, with checkpoints and learning curves in one folder."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.devices import choose_precision
from ..base.errors import DataError, ModelError
from ..datasets.five_sets import SourceSet
from ..models.batch_norm import reset_statistics
from ..models.model import Model, ModelCard
from ..models.model_file import read_model, write_model
from ..models.networks import SegmentationNetwork, build_network
from ..training import provenance
from .budget import Budget
from .config import MODEL_FILE, ReptileConfig, check_sources
from .curves_csv import append_rows, cut_rows
from .episodes import Task, seen_bright
from .loss_terms import weight_names
from .ranks import largest_over_ranks, open_fabric, stop_requests
from .reptile import LOSS_COLUMNS, InnerLosses, Theta, get_theta, meta_step, set_theta

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CURVES_FILE = "curves.csv"
CURVES = ("iteration", "seconds", "task", *LOSS_COLUMNS)

_CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class MetaProgress:
    """Event after an inner loop. Those of other ranks follow at the end of the iteration.

    Attributes
    ----------
    iteration : int
        The current iteration, counted from 1.
    seconds : float
        Training time so far, including the earlier parts of a resumed run.
    losses : InnerLosses
    """

    iteration: int
    seconds: float
    losses: InnerLosses


def new_card(
    architecture: str, sources: Sequence[SourceSet], config: ReptileConfig, *, command: str, device: str
) -> ModelCard:
    """The card of a new run, dated now."""
    losses = ["L_BCE", *(term.symbol for term in config.terms.values())]
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
        notes=f"Meta-trained start (Reptile with {' + '.join(losses)}); fine-tune it before use.",
    )


def meta_train(
    folder: Path,
    card: ModelCard,
    tasks: Sequence[Task],
    config: ReptileConfig,
    budget: Budget,
    *,
    start: Model | None = None,
    device: str = "cpu",
    precision: str = "32-true",
) -> Generator[MetaProgress, None, Model]:
    """Meta-train until the budget is spent, in a folder that always holds the last checkpoint.

    If the folder holds a checkpoint, the run resumes from it. On one machine with the same number of threads,
    the result is bit for bit that of an unbroken run, unless ε is annealed by time. Closing the generator,
    also by Ctrl-C, keeps the last complete iteration. A resumed run may have another ε; all other settings
    must be the same. The card holds the last ε.

    Under ``torchrun``, the tasks of an iteration are divided over the ranks, and only rank 0 reads and writes
    the folder. All ranks stop together: when the budget of one is spent, or after the iteration in which one
    receives SIGINT or SIGTERM. After a signal, each rank raises KeyboardInterrupt.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    card : ModelCard
        See `new_card`.
    tasks : sequence of Task
        All source sets, on every rank.
    config : ReptileConfig
    budget : Budget
    start : Model, optional
        Model whose θ to start from, for instance of transfer learning on the same sources; by default θ is
        random.
    device, precision : str
        See `ranks.open_fabric`.

    Yields
    ------
    MetaProgress

    Returns
    -------
    Model
        The same on every rank.

    Raises
    ------
    ModelError
        The checkpoint in the folder was made with other settings, or the start has another architecture.
    DataError
        There are too few source sets for the loss, or the start was trained on other sets too.
    FewShotError
        The device or the precision is not available.
    """
    check_sources(config, len(tasks))
    if start is not None:
        card = _card_with_start(start, card)
    fabric = open_fabric(device, precision)
    writes = fabric.is_global_zero
    if config.episode.mix:
        tasks = [seen_bright(task) for task in tasks]
    network, card = fabric.broadcast(_start_or_resume(folder / MODEL_FILE, card, config, start))
    network.to(fabric.device)
    card = replace(card, machine=describe_machine(fabric, precision))
    iteration = saved = int(card.hyper_parameters["iterations"])
    trained = before = float(card.hyper_parameters["seconds"])
    if writes:
        folder.mkdir(parents=True, exist_ok=True)
        cut_rows(folder / CURVES_FILE, iteration)
    theta, started, last_save = get_theta(network), time.perf_counter(), time.perf_counter()
    with stop_requests(fabric) as asked_to_stop:
        try:
            while True:
                share = math.inf if asked_to_stop() else budget.share(iteration, trained)
                share = largest_over_ranks(fabric, share)
                if share >= 1:
                    break
                rows = []
                for losses in meta_step(network, tasks, config, iteration, fabric, share=share):
                    trained = before + time.perf_counter() - started
                    rows.append(MetaProgress(iteration + 1, trained, losses))
                    yield rows[-1]
                if writes:
                    _append_curves(folder / CURVES_FILE, rows)
                iteration, theta = iteration + 1, get_theta(network)
                if writes and time.perf_counter() - last_save > _CHECKPOINT_SECONDS:
                    _save(folder, network, theta, card, iteration, trained)
                    saved, last_save = iteration, time.perf_counter()
        finally:
            if writes:
                cut_rows(folder / CURVES_FILE, iteration)  # Ctrl-C may come between the rows and their θ
            if writes and (saved < iteration or iteration == 0):
                _save(folder, network, theta, card, iteration, trained)
    if share == math.inf:
        raise KeyboardInterrupt
    return fabric.broadcast(read_model(folder / MODEL_FILE) if writes else Model(card, network))


def describe_machine(fabric: Fabric, precision: str) -> str:
    """Processor, device, precision and number of ranks in one line."""
    ranks = f", {fabric.world_size} ranks" if fabric.world_size > 1 else ""
    return provenance.machine(str(fabric.device), choose_precision(precision, fabric.device)) + ranks


def _card_with_start(start: Model, card: ModelCard) -> ModelCard:
    """The card of a run that starts from another model's weights."""
    if start.card.architecture != card.architecture:
        raise ModelError(
            f"'{start.card.name}' is a {start.card.architecture}, not a {card.architecture}; "
            f"add --arch {start.card.architecture}."
        )
    known = [source["name"] for source in card.sources]
    others = [source["name"] for source in start.card.sources if source["name"] not in known]
    if others:
        raise DataError(
            f"'{start.card.name}' was trained on {', '.join(others)} too, which this run leaves out; "
            "choose a start that was not."
        )
    return replace(card, parent=start.card.name, notes=f"{card.notes} Begun with '{start.card.name}'.")


def _start_or_resume(
    path: Path, card: ModelCard, config: ReptileConfig, start: Model | None
) -> tuple[SegmentationNetwork, ModelCard]:
    if not path.exists():
        if start is not None:
            return copy.deepcopy(start.network), card
        return build_network(card.architecture, config.seed), card
    model = read_model(path)

    def settings(of: ModelCard) -> tuple[object, ...]:
        free = ("iterations", "seconds", "meta_lr")  # ε may change when a run resumes
        values = {k: v for k, v in of.hyper_parameters.items() if k not in free}
        # an older checkpoint lacks newer settings, and was trained without newer loss terms
        values = {**ReptileConfig().as_dict(), **dict.fromkeys(weight_names(), 0.0), **values}
        return of.architecture, of.parent, [(s["name"], s["images"]) for s in of.sources], values

    if settings(model.card) != settings(card):
        raise ModelError(
            f"'{path}' was trained with other settings; give the same settings or another --out folder."
        )
    return model.network, replace(
        model.card,
        hyper_parameters={**model.card.hyper_parameters, "meta_lr": config.meta_lr},
        sources=card.sources,  # a licence may have been corrected since
        command=card.command,
        commit=card.commit,
    )


def _save(
    folder: Path, network: SegmentationNetwork, theta: Theta, card: ModelCard, iteration: int, seconds: float
) -> None:
    set_theta(network, theta)
    reset_statistics(network)
    done = {**card.hyper_parameters, "iterations": iteration, "seconds": round(seconds, 1)}
    card = replace(card, hyper_parameters=done, date=provenance.now())
    write_model(Model(card, network), folder / MODEL_FILE)


def _append_curves(path: Path, events: Sequence[MetaProgress]) -> None:
    rows = []
    for event in events:
        numbers = (f"{event.losses.values[column]:.6f}" for column in LOSS_COLUMNS)
        rows.append([event.iteration, f"{event.seconds:.1f}", event.losses.task, *numbers])
    append_rows(path, CURVES, rows)
