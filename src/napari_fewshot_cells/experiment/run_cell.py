"""The two kinds of job in the paper's experiment: training a start, and one cell of the matrix.

Each keeps its result in its own files and looks there first. So a job can safely be run again, also on
another machine: an existing cell is not run again, and a half-trained start continues from its checkpoint.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from ..base.atomic_files import write_atomically
from ..base.devices import choose_device
from ..base.errors import DataError
from ..base.host_process import keep_all_freed_memory
from ..base.progress import finish
from ..base.version import __version__
from ..datasets.five_sets import SOURCE_NAMES, find_sources
from ..models.model import Model
from ..models.model_file import read_model
from ..training import provenance
from ..training.config import MODEL_FILE
from ..training.episodes import Task, load_task
from ..training.meta_training import meta_train, new_card
from ..training.transfer import new_transfer_card, transfer_train
from .few_shot_test import Example, few_shot_iou, machine_of, select
from .plan import SCHEDULE_FILE, Cell, Plan, Start, check_folders, is_trained, read_cell, write_json
from .schedules import reptile_config


def train_start(plan: Plan, start: Start) -> Path:
    """Train a start to the end of its budget, from its checkpoint if there is one; nothing if it is trained.

    Returns
    -------
    Path
        Of the model file.

    Raises
    ------
    DataError
        If this machine does not see DATA or OUT, or the folder holds a start of another schedule or seed.
    """
    check_folders(plan)
    keep_all_freed_memory()  # a job may run in its own process
    torch.set_num_threads(plan.threads)
    folder = plan.start_folder(start)
    folder.mkdir(parents=True, exist_ok=True)
    # A job of an earlier run, which Dask took for lost, may still be training here.
    with FileLock(folder / ".lock"):
        if not is_trained(plan, start):
            record = {**plan.settings["schedule"], "seed": plan.seed}
            write_json(folder / SCHEDULE_FILE, {**record, "finished": False})
            _target.cache_clear()  # frees memory for the sources of the training
            finish(_training(plan, start, folder))
            write_json(folder / SCHEDULE_FILE, {**record, "finished": True})
    return folder / MODEL_FILE


def run_cell(plan: Plan, cell: Cell, start: Path) -> dict[str, Any]:
    """Fine-tune a start on one selection and test it, unless its result exists.

    Parameters
    ----------
    plan : Plan
    cell : Cell
    start : Path
        As `train_start` returns it.

    Returns
    -------
    dict
        The content of the result file; see `matrix.COLUMNS`.

    Raises
    ------
    DataError
        If this machine does not see DATA or OUT, the target has too few images, or there is a result of
        another schedule or seed.
    """
    check_folders(plan)
    done = read_cell(plan, cell)
    if done is not None:
        return done
    keep_all_freed_memory()  # a job may run in its own process
    torch.set_num_threads(plan.threads)
    device = str(choose_device(plan.device))
    target = _target(plan.data, cell.target)
    support, test = select(len(target.shots), cell.k_shot, cell.selection, plan.n_test)
    if not test:
        raise DataError(f"The set {cell.target} has only {len(target.shots)} images; 11 are needed.")
    model = read_model(start)
    result = few_shot_iou(
        model,
        target,
        support,
        test,
        recipe=plan.schedule.fine_tuning,
        seed=plan.seed + cell.selection,
        device=device,
    )
    row = {
        "arch": cell.arch,
        "target": cell.target,
        "method": cell.method,
        "k_shot": cell.k_shot,
        "selection": cell.selection,
        "iou": round(result.iou, 5),
        "plain_iou": round(result.plain_iou, 5),
        "seconds": round(result.seconds, 2),
        "schedule": plan.schedule.name,
        "seed": plan.seed,
        "commit": provenance.commit(),
        "device": device,
        "n_test": len(test),
        "iterations": model.card.hyper_parameters["iterations"],
        "train_seconds": model.card.hyper_parameters["seconds"],
        "date": provenance.now(),
        "machine": machine_of(plan.schedule.fine_tuning, device),
        "trained_on": model.card.machine,
        "software": software(),
        "settings": plan.settings,
    }
    if cell.selection == 0:
        _write_overlay(plan.out / "overlays" / f"{cell.key}.npz", result.example)
    write_json(plan.cell_file(cell), row)
    return row


def software() -> str:
    """Versions that a result depends on."""
    return f"napari-fewshot-cells {__version__}, torch {torch.__version__}, numpy {np.__version__}"


def _training(plan: Plan, start: Start, folder: Path) -> Generator[object, None, Model]:
    """The steps of a training that continues from the folder's checkpoint."""
    others = [name for name in SOURCE_NAMES if name != start.target]
    sources = list(find_sources(plan.data, others).values())
    tasks = [load_task(source) for source in sources]
    schedule, device = plan.schedule, str(choose_device(plan.device))
    if start.method == "transfer":
        config = replace(schedule.transfer, seed=plan.seed)
        card = new_transfer_card(start.arch, sources, config, command=plan.command, device=device)
        return transfer_train(
            folder, card, tasks, config, schedule.transfer_budget, device=device, precision=plan.precision
        )
    reptile = reptile_config(schedule, start.method, plan.seed)
    card = new_card(start.arch, sources, reptile, command=plan.command, device=device)
    return meta_train(
        folder, card, tasks, reptile, schedule.meta_budget, device=device, precision=plan.precision
    )


@lru_cache(maxsize=2)
def _target(data: Path, name: str) -> Task:
    """Cached, because the cells of a target mostly follow one another."""
    return load_task(find_sources(data, (name,))[name])


def _write_overlay(path: Path, example: Example) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, image=example.image, truth=example.truth, predicted=example.predicted)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
