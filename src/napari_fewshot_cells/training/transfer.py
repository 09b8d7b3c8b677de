"""Transfer learning, the paper's baseline: one network trained on all sources shuffled together.

The folder of a run is like that of a meta-training, with model, card and curves, and also holds the state of
Adam.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..base.errors import FewShotError, ModelError
from ..data.crops import Batch, Sample, augment_crop, corner_near, cut_crop, rescale_sample
from ..data.plane import FloatImage
from ..data.stride_crops import cut_batch, stride_crops
from ..datasets.five_sets import SourceSet
from ..models.losses import weighted_bce
from ..models.model import CANONICAL_DIAMETER, Model, ModelCard
from ..models.model_file import read_model, write_model
from ..models.networks import build_network
from ..training import provenance
from .budget import Budget
from .checkpoints import Checkpoint, read_checkpoint, restore, take_checkpoint, write_checkpoint
from .config import MODEL_FILE, ReptileConfig, TransferConfig
from .curves_csv import append_rows, cut_rows
from .episodes import Task, seen_bright
from .meta_training import CURVES_FILE, describe_machine, new_card
from .ranks import open_fabric
from .reptile import set_theta

STATE_FILE = "training.safetensors"
CURVES = ("iteration", "seconds", "bce")

_CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class TransferProgress:
    """The state after an Adam step.

    Attributes
    ----------
    iteration : int
        Adam steps done.
    seconds : float
        Trained so far, including earlier parts of a resumed run.
    bce : float
        L_BCE of the step.
    """

    iteration: int
    seconds: float
    bce: float


def new_transfer_card(
    architecture: str, sources: Sequence[SourceSet], config: TransferConfig, *, command: str, device: str
) -> ModelCard:
    """The card of a run that begins now."""
    card = new_card(architecture, sources, ReptileConfig(seed=config.seed), command=command, device=device)
    order = "in turn" if config.by_set else "shuffled together"
    return replace(
        card,
        hyper_parameters={**config.as_dict(), "iterations": 0, "seconds": 0.0},
        notes=f"Transfer learning (L_BCE on all sources {order}); fine-tune it before use.",
    )


def transfer_train(
    folder: Path,
    card: ModelCard,
    tasks: Sequence[Task],
    config: TransferConfig,
    budget: Budget,
    *,
    device: str = "cpu",
    precision: str = "32-true",
) -> Generator[TransferProgress, None, Model]:
    """Train with L_BCE (Eq. 3) until the budget is spent, in a folder that always holds a checkpoint.

    A run in a folder with a checkpoint continues from there. On one machine with the same number of threads
    the result is bit for bit that of a run that never stopped. Closing the generator, also by Ctrl-C, keeps
    the last complete step.

    Parameters
    ----------
    folder : Path
    card : ModelCard
        See `new_transfer_card`.
    tasks : sequence of Task
        One is enough.
    config : TransferConfig
    budget : Budget
        Its `meta_steps` are Adam steps here.
    device, precision : str
        See `ranks.open_fabric`.

    Yields
    ------
    TransferProgress

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If the folder's checkpoint was made with other settings, or is incomplete.
    FewShotError
        If the device is not available, or this is one of several ranks.
    """
    fabric = open_fabric(device, precision)
    if fabric.world_size > 1:
        raise FewShotError("Transfer learning runs in one process; start it without torchrun.")
    folder.mkdir(parents=True, exist_ok=True)
    finished = _finished(folder, card, budget)
    if finished is not None:
        return finished
    card = replace(card, machine=describe_machine(fabric, precision))
    network = build_network(card.architecture, config.seed)
    network.to(fabric.device)
    adam = torch.optim.Adam(network.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    last, saved = take_checkpoint(0, 0.0, network, adam), None
    if (folder / STATE_FILE).exists():
        last, settings = read_checkpoint(folder / STATE_FILE)
        _check_settings(settings, card, folder / STATE_FILE)
        restore(last, network, adam)
    cut_rows(folder / CURVES_FILE, last.iteration)
    draw = crop_source(tasks, config)
    network.train()
    before, started, last_save = last.seconds, time.perf_counter(), time.perf_counter()
    try:
        while not budget.is_spent(last.iteration, last.seconds):
            batch = draw(last.iteration)
            adam.param_groups[0]["lr"] = config.lr_at(budget.share(last.iteration, last.seconds))
            adam.zero_grad()
            with fabric.autocast():
                logits, _ = network(batch.image.to(fabric.device, memory_format=torch.channels_last))
            loss = weighted_bce(
                logits.float(),
                batch.target.to(fabric.device),
                batch.weight.to(fabric.device),
                balance=config.balance,
            )
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            # Ctrl-C may come at any line here: save this copy, which is always of a complete step
            seconds = before + time.perf_counter() - started
            step = take_checkpoint(last.iteration + 1, seconds, network, adam)
            event = TransferProgress(step.iteration, step.seconds, loss.item())
            row = (event.iteration, f"{event.seconds:.1f}", f"{event.bce:.6f}")
            append_rows(folder / CURVES_FILE, CURVES, [row])
            last = step
            yield event
            if time.perf_counter() - last_save > _CHECKPOINT_SECONDS:
                _save(folder, card, last)
                saved, last_save = last, time.perf_counter()
    finally:
        cut_rows(folder / CURVES_FILE, last.iteration)  # Ctrl-C may have come after a row and before its step
        if last is not saved:
            _save(folder, card, last)
    return read_model(folder / MODEL_FILE)


def crop_source(tasks: Sequence[Task], config: TransferConfig) -> Callable[[int], Batch]:
    """A function from step number, counted from 0, to batch. The same step always gets the same batch.

    All images of all sources are shuffled together anew for each epoch; with `by_set` those of the set whose
    turn it is, with a stride all windows. A batch may span the end of an epoch.
    """
    if config.mix:
        tasks = [seen_bright(task) for task in tasks]
    sets: list[list[tuple[Sample, float]]] = [
        [
            (sample, CANONICAL_DIAMETER / diameter if config.rescale else 1.0)
            for sample, diameter in zip(task.samples, task.diameters, strict=True)
        ]
        for task in tasks
    ]
    if not config.by_set:
        sets = [list(itertools.chain.from_iterable(sets))]
    size = config.crop_size
    if config.stride is not None:
        scaled = [rescale_sample(sample, factor) for sample, factor in sets[0]]
        windows = stride_crops(scaled, size, config.stride, config.min_foreground)
        return lambda step: cut_batch([windows[i] for i in _shuffled(len(windows), step, config)], size)

    def draw(step: int) -> Batch:
        rng = np.random.default_rng([config.seed, step])
        images = sets[step % len(sets)]
        stacks = [
            _random_crop(*images[i], config, rng, foreground=turn % 2 == 0)
            for turn, i in enumerate(_shuffled(len(images), step // len(sets), config))
        ]
        image, target, weight = torch.from_numpy(np.ascontiguousarray(stacks)).unbind(dim=1)
        return Batch(image[:, None], target[:, None], weight[:, None])

    return draw


def _random_crop(
    sample: Sample, factor: float, config: TransferConfig, rng: np.random.Generator, *, foreground: bool
) -> FloatImage:
    """A crop as in meta-training, around any pixel or one of an object: float32, (3, crop_size, crop_size).

    The crop is cut first and rescaled afterwards. An episode rescales first, because it takes many crops of
    one image; here, resizing an image for a single crop would take a third of a step's time.
    """
    jitter = np.exp(rng.uniform(-1, 1) * np.log(config.scale_jitter))
    side = max(1, round(config.crop_size / (factor * jitter)))
    height, width = sample.image.shape
    index = rng.choice(sample.foreground) if foreground else rng.integers(sample.image.size)
    corner = corner_near(divmod(int(index), width), (height, width), side, rng)
    image, target, weight = cut_crop(sample, corner, side)
    crop = rescale_sample(Sample(image, target, weight), config.crop_size / side)
    return augment_crop(np.stack([crop.image, crop.target, crop.weight]), rng)


def _shuffled(n: int, step: int, config: TransferConfig) -> list[int]:
    """Indices of a step's batch in an endless sequence of epochs, each shuffled differently."""
    places = np.arange(step * config.batch, (step + 1) * config.batch)
    epochs = range(places[0] // n, places[-1] // n + 1)
    orders = [np.random.default_rng([config.seed, 0, epoch, n]).permutation(n) for epoch in epochs]
    return [int(i) for i in np.concatenate(orders)[places - epochs[0] * n]]


def _settings(card: ModelCard) -> str:
    """The settings that must be the same for a run to continue."""
    values = {k: v for k, v in card.hyper_parameters.items() if k not in ("iterations", "seconds")}
    sources = [(s["name"], s["images"]) for s in card.sources]
    return json.dumps([card.architecture, sources, values], sort_keys=True)


def _finished(folder: Path, card: ModelCard, budget: Budget) -> Model | None:
    """The folder's model if its budget is already spent; then it needs no state of Adam."""
    if not (folder / MODEL_FILE).exists():
        return None
    model = read_model(folder / MODEL_FILE)
    _check_settings(_settings(model.card), card, folder / MODEL_FILE)
    done = model.card.hyper_parameters
    if budget.is_spent(int(done["iterations"]), float(done["seconds"])):
        return model
    if not (folder / STATE_FILE).exists():
        raise ModelError(
            f"'{folder}' has lost '{STATE_FILE}', so the run cannot continue; give another --out folder."
        )
    return None


def _check_settings(settings: str, card: ModelCard, path: Path) -> None:
    if settings != _settings(card):
        raise ModelError(
            f"'{path}' was trained with other settings; give the same settings or another --out folder."
        )


def _save(folder: Path, card: ModelCard, checkpoint: Checkpoint) -> None:
    """Write the state first: it is complete in itself, so a kill between the two files costs nothing."""
    write_checkpoint(folder / STATE_FILE, checkpoint, _settings(card))
    network = build_network(card.architecture, seed=0)  # its batch norm has no statistics
    set_theta(network, {name: theta.cpu() for name, theta in checkpoint.theta.items()})
    done = {"iterations": checkpoint.iteration, "seconds": round(checkpoint.seconds, 1)}
    card = replace(card, hyper_parameters={**card.hyper_parameters, **done}, date=provenance.now())
    write_model(Model(card, network), folder / MODEL_FILE)
