"""Training schedules: the paper's, one with a time budget, and those of TOML files.

A schedule holds all settings that the five methods share, so that the methods can be compared. They differ in
the weights of their losses.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from ..base.atomic_files import write_atomically
from ..base.errors import FewShotError
from ..base.toml_file import read_toml
from ..base.validation import InvalidError, validated
from ..finetune.recipe import PaperRecipe, Recipe
from ..training.budget import Budget
from ..training.config import EpisodeShape, ReptileConfig, TransferConfig
from ..training.loss_terms import weight_names
from .methods import META_TRAINED

CPU_MINUTES = 5.0
"""Length of each training in the schedule "cpu", for every method."""

CPU_FINE_TUNING = Recipe(
    steps=30,
    steps_per_shot=6,
    stroked_steps=1.5,
    crops=8,
    crop_size=128,
    lr=1e-3,
    partial_factor=0.3,
    outlined_factor=0.6,
    weight_decay=5e-4,
    balance=1.0,
    unpainted=True,
    rescale=True,
    mix=True,
    calibrate=True,
    refine=False,
    batch_norm="support",
    views=1,
)
"""Fine-tuning in the schedule "cpu". It names every value, so it stays the same when the button's defaults
change, and results of different versions can be pooled.
"""

PAPER_TRANSFER_STEPS = 30_000
"""Adam steps of the paper's transfer learning: 50 epochs in batches of 64.

The authors cut 8,450 to 12,500 crops from every set, whatever its size, and keep 1,000 of them for
validation: four sets give about 37,000. Counted in steps, the training has the same length for sources of any
size.
"""


@dataclass(frozen=True)
class Schedule:
    """The settings that all methods of a comparison share.

    Attributes
    ----------
    name : str
        "paper", "cpu", or the name of a TOML file.
    reptile : ReptileConfig
        Meta-training of the four methods that meta-train. Weights and seed: see `reptile_config`.
    meta_budget : Budget
    transfer : TransferConfig
    transfer_budget : Budget
        Counts Adam steps as `meta_steps`.
    fine_tuning : Recipe or PaperRecipe
        Fine-tuning of all five methods.
    """

    name: str
    reptile: ReptileConfig
    meta_budget: Budget
    transfer: TransferConfig
    transfer_budget: Budget
    fine_tuning: Recipe | PaperRecipe


SCHEDULES = {
    "paper": Schedule(
        "paper",
        reptile=ReptileConfig(
            alpha=0.01,
            beta=0.01,
            meta_lr=1.0,
            lr=1e-3,
            weight_decay=5e-4,
            episode=EpisodeShape(
                k_shot=5,
                inner_steps=30,
                crops=5,
                other_crops=5,
                crop_size=256,
                scale_jitter=1.0,
                mix=False,
                rescale=False,
            ),
        ),
        meta_budget=Budget(meta_steps=300),
        transfer=TransferConfig(
            lr=1e-3,
            weight_decay=5e-4,
            batch=64,
            crop_size=256,
            stride=55,  # the middle of the authors' five strides, 20 to 140 px
            min_foreground=360,
            scale_jitter=1.0,
            mix=False,
            rescale=False,
        ),
        transfer_budget=Budget(meta_steps=PAPER_TRANSFER_STEPS),
        fine_tuning=PaperRecipe(),
    ),
    "cpu": Schedule(
        "cpu",
        reptile=ReptileConfig(),
        meta_budget=Budget(minutes=CPU_MINUTES),
        transfer=TransferConfig(batch=16, crop_size=EpisodeShape().crop_size),
        transfer_budget=Budget(minutes=CPU_MINUTES),
        fine_tuning=CPU_FINE_TUNING,
    ),
}

_AT_LEAST_ONE = (
    "batch", "crop_size", "crops", "epochs", "inner_steps", "k_shot", "other_crops",
    "scale_jitter", "steps", "stride",
)  # fmt: skip
_TABLES = ("reptile", "meta_budget", "transfer", "transfer_budget", "fine_tuning")


def get_schedule(name_or_file: str) -> Schedule:
    """A schedule by name, or from a TOML file that changes a named schedule.

    Parameters
    ----------
    name_or_file : str
        "paper", "cpu", or a path that ends in ``.toml``. The file names its ``base`` and may have the tables
        ``[reptile]``, ``[reptile.episode]``, ``[meta_budget]``, ``[transfer]``, ``[transfer_budget]`` and
        ``[fine_tuning]``. A table may name its own base. A budget replaces the base's.

    Raises
    ------
    FewShotError
        The name is unknown, the file cannot be read, a key is unknown, or a value has a wrong type or range.
    """
    if name_or_file in SCHEDULES:
        return SCHEDULES[name_or_file]
    path = Path(name_or_file)
    if path.suffix != ".toml":
        raise FewShotError(f"There is no schedule '{name_or_file}'; choose paper, cpu or a .toml file.")
    return _from_tables(read_toml(path, "schedule"), path)


def reptile_config(schedule: Schedule, method: str, seed: int) -> ReptileConfig:
    """The meta-training of a schedule, with the losses of one method.

    Parameters
    ----------
    schedule : Schedule
    method : {"bce", "bce+er", "bce+d", "complete"}
    seed : int

    Raises
    ------
    FewShotError
        The method is unknown or does not meta-train.
    """
    if method not in META_TRAINED:
        raise FewShotError(f"'{method}' is not meta-trained; choose from {', '.join(META_TRAINED)}.")
    weights: dict[str, Any] = META_TRAINED[method].all_weights
    return replace(schedule.reptile, **weights, seed=seed)


def schedule_as_dict(schedule: Schedule) -> dict[str, Any]:
    """Plain values, as in the tables of a TOML file, without weights and seeds, which runs set themselves."""
    tables = asdict(schedule)
    for key in (*weight_names(), "seed"):
        del tables["reptile"][key]
    del tables["transfer"]["seed"]
    return tables


def write_schedule(schedule: Schedule, path: Path) -> None:
    """Write a schedule as JSON beside its results."""
    text = json.dumps(schedule_as_dict(schedule), indent=2, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())


def _from_tables(tables: Mapping[str, Any], path: Path) -> Schedule:
    unknown = sorted(set(tables).difference(_TABLES, ("base",)))
    if unknown:
        raise FewShotError(f"'{path}' holds the unknown key {', '.join(unknown)}; see docs/schedules.md.")
    base = tables.get("base")
    parts = {name: _part(name, dict(_table(tables, name, path)), base, path) for name in _TABLES}
    return Schedule(path.name, **parts)


def _table(tables: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise FewShotError(f"'{name}' in '{path}' is not a table; write [{name}] and its keys below.")
    return table


def _part(name: str, given: dict[str, Any], base: object, path: Path) -> Any:
    """One attribute of a schedule: the base's, with the changes of a table."""
    base = given.pop("base", base)
    if not isinstance(base, str) or base not in SCHEDULES:
        raise FewShotError(f'\'{path}\' has no known base; add base = "cpu" or base = "paper".')
    default = getattr(SCHEDULES[base], name)
    if not given:
        return default
    if name.endswith("_budget"):
        return _validated(Budget, given, name, path)
    fixed = {"reptile": {*weight_names(), "seed"}, "transfer": {"seed"}}.get(name, set()).intersection(given)
    if fixed:
        raise FewShotError(
            f"{', '.join(sorted(fixed))} in [{name}] of '{path}' cannot be set: method and command set them."
        )
    return _validated(type(default), _merged(default, given, name, path), name, path)


def _merged(default: Any, given: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    _check_keys(type(default), given, name, path)
    merged = {field.name: getattr(default, field.name) for field in fields(default)}
    for key, value in given.items():
        nested = is_dataclass(merged[key]) and isinstance(value, dict)
        merged[key] = _merged(merged[key], value, f"{name}.{key}", path) if nested else value
    return merged


def _check_keys(of_type: type, given: Mapping[str, Any], name: str, path: Path) -> None:
    known = [field.name for field in fields(of_type)]
    unknown = sorted(set(given).difference(known))
    if unknown:
        raise FewShotError(
            f"[{name}] in '{path}' holds the unknown key {', '.join(unknown)}; it knows {', '.join(known)}."
        )


def _validated(of_type: type, values: Mapping[str, Any], name: str, path: Path) -> Any:
    _check_keys(of_type, values, name, path)
    try:
        part: Any = validated(of_type, values)
    except InvalidError as error:
        first = error.faults[0]
        where = f"{name}.{first.field}".rstrip(".")
        raise FewShotError(f"{where} in '{path}' is wrong: {first.reason}.") from error
    _check_ranges(part, name, path)
    return part


def _check_ranges(part: Any, name: str, path: Path) -> None:
    """Reject numbers that no training can use."""
    for field in fields(part):
        value = getattr(part, field.name)
        least = 1 if field.name in _AT_LEAST_ONE else 0
        if is_dataclass(value):
            _check_ranges(value, f"{name}.{field.name}", path)
        elif isinstance(value, int | float) and not least <= value < math.inf:
            raise FewShotError(f"{name}.{field.name} in '{path}' is {value}; it must be at least {least}.")
