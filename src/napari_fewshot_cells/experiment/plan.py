"""The parts of an experiment, and the state of its folder.

OUT/starts/<arch>-<target>-<method>/                      model, card, curves, schedule.json
OUT/cells/<arch>-<target>-<method>-k<K>-s<selection>.json
OUT/overlays/<the same>.npz                               of selection 0: image, truth, predicted
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.atomic_files import write_atomically
from ..base.errors import DataError
from .schedules import Schedule, schedule_as_dict

SCHEDULE_FILE = "schedule.json"

_WAY_OUT = "give the same options, or another --out folder."


@dataclass(frozen=True)
class Start:
    """One training: a network and a method, on all source sets but the target."""

    arch: str
    target: str
    method: str

    @property
    def key(self) -> str:
        """Its folder's name."""
        return f"{self.arch}-{self.target}-{self.method}"


@dataclass(frozen=True)
class Cell:
    """One fine-tuning and its test: a start, on one selection of K images of its target."""

    arch: str
    target: str
    method: str
    k_shot: int
    selection: int

    @property
    def start(self) -> Start:
        """The start it fine-tunes."""
        return Start(self.arch, self.target, self.method)

    @property
    def key(self) -> str:
        """Its result file's name."""
        return f"{self.start.key}-k{self.k_shot}-s{self.selection}"


@dataclass(frozen=True)
class Plan:
    """What all jobs of an experiment share; it is sent to the workers.

    Attributes
    ----------
    data : Path
        Folder of the source sets.
    out : Path
        Folder of the results; must exist.
    schedule : Schedule
    seed : int
        Of weights, episodes and crops. A selection's seed is its number.
    n_test : int or None
        Test on this many images of the target only.
    device, precision : str
        See `ranks.open_fabric`; the precision is that of the trainings.
    threads : int
        Processor threads of a job.
    command : str
        For the cards.
    """

    data: Path
    out: Path
    schedule: Schedule
    seed: int = 0
    n_test: int | None = None
    device: str = "cpu"
    precision: str = "32-true"
    threads: int = 1
    command: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same for all results in one folder, as read back from JSON."""
        settings = {"schedule": schedule_as_dict(self.schedule), "seed": self.seed, "n_test": self.n_test}
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain

    def start_folder(self, start: Start) -> Path:
        """The folder of a start."""
        return self.out / "starts" / start.key

    def cell_file(self, cell: Cell) -> Path:
        """The file of a cell's result."""
        return self.out / "cells" / f"{cell.key}.json"


def check_folders(plan: Plan) -> None:
    """Make sure that DATA and OUT exist on this machine.

    Raises
    ------
    DataError
        If one does not.
    """
    for folder in (plan.data, plan.out):
        if not folder.is_dir():
            raise DataError(
                f"There is no folder '{folder}' on {platform.node()}; all workers must share DATA and OUT."
            )


def is_trained(plan: Plan, start: Start) -> bool:
    """Whether a start has been trained to its end.

    The fine-tuning of the schedule is not compared, because a trained start may be copied to the folder of an
    experiment with another fine-tuning.

    Raises
    ------
    DataError
        If the folder holds a start of another schedule or seed.
    """
    path = plan.start_folder(start) / SCHEDULE_FILE
    if not path.exists():
        return False
    budget = ("transfer", "transfer_budget") if start.method == "transfer" else ("reptile", "meta_budget")
    there, here = read_json(path), {**plan.settings["schedule"], "seed": plan.seed}
    if any(there.get(key) != here[key] for key in (*budget, "seed")):
        raise DataError(
            f"'{path.parent}' was trained by the schedule '{there.get('name')}' "
            f"with seed {there.get('seed')}, which are not these; {_WAY_OUT}"
        )
    return bool(there["finished"])


def iterations(plan: Plan, start: Start) -> int:
    """Iterations of a training so far; Adam steps if the method is transfer learning."""
    card = plan.start_folder(start) / "model.json"
    return int(read_json(card)["hyper_parameters"]["iterations"]) if card.exists() else 0


def read_cell(plan: Plan, cell: Cell) -> dict[str, Any] | None:
    """A cell's result; None if there is none yet.

    Raises
    ------
    DataError
        If it was made with another schedule, seed or number of test images.
    """
    path = plan.cell_file(cell)
    if not path.exists():
        return None
    row = read_json(path)
    check_row(plan, row, path)
    return row


def check_row(plan: Plan, row: Mapping[str, Any], path: Path) -> None:
    """Raise DataError unless a result is of this plan."""
    if row["settings"] != plan.settings:
        raise DataError(
            f"'{path}' was made by the schedule '{row['schedule']}' with seed {row['seed']} and "
            f"{row['n_test']} test images, which are not these; {_WAY_OUT}"
        )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file as a whole or not at all, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of `write_json`; DataError if it is damaged."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"'{path}' is damaged ({error}); delete it, and it will be made again.") from error
    return content
