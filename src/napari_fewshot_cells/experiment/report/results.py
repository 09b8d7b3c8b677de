"""Stored results: the fine-tunings of a matrix, the curves of its trainings, and its overlays.

A folder of results is one that ``napari-fewshot-train protocol`` wrote, or one that ``report`` wrote from it,
with `results.csv` and `curves.csv`. If renamed, these two are `NAME.csv` and `NAME-curves.csv`.

Nothing here trains, so nothing here imports torch.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...base.errors import DataError
from ...models.registry import NETWORKS
from .. import methods

ARCHITECTURES = {name: network.title for name, network in NETWORKS.items() if network.of_the_paper}
"""The paper's two, with their titles."""

METHODS = {name: method.label for name, method in methods.METHODS.items()}
K_SHOTS = (1, 3, 5, 7, 10)

RESULTS_FILE = "results.csv"
CURVES_FILE = "curves.csv"

_CURVE_COLUMNS = ("schedule", "arch", "target", "method", "seed", "iteration", "seconds", "bce")
_CURVE_POINTS = 300  # more than a figure can show


@dataclass(frozen=True)
class FineTuning:
    """One row of the results: a start fine-tuned on one selection, and its test.

    Attributes
    ----------
    arch, target, method : str
    k_shot, selection : int
    iou : float
        Mean over the test images, at the threshold calibrated on the shots if the schedule calibrates.
    plain_iou : float
        The same at a probability of 0.5, as in the paper.
    seconds : float
        Of the fine-tuning.
    schedule, seed, commit, device, date, machine, software
        Where the number comes from.
    n_test : int
        Test images.
    iterations : int
    train_seconds : float
        Of the training of the start.
    """

    arch: str
    target: str
    method: str
    k_shot: int
    selection: int
    iou: float
    plain_iou: float
    seconds: float
    schedule: str
    seed: int
    commit: str
    device: str
    n_test: int
    iterations: int
    train_seconds: float
    date: str
    machine: str
    software: str

    @property
    def start(self) -> Start:
        """The training that this fine-tuning started from."""
        return self.schedule, self.arch, self.target, self.method, self.seed

    @property
    def key(self) -> str:
        """Name of the cell in the matrix, as in its files."""
        return f"{self.arch}-{self.target}-{self.method}-k{self.k_shot}-s{self.selection}"


Start = tuple[str, str, str, str, int]
"""Schedule, network, target, method, seed."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The weighted cross-entropy of a training.

    Attributes
    ----------
    iteration, seconds, bce : (N,) float
        For a meta-training, `bce` is the mean over the tasks of an iteration.
    """

    iteration: NDArray[np.float64]
    seconds: NDArray[np.float64]
    bce: NDArray[np.float64]


@dataclass(frozen=True)
class Results:
    """Everything a report is made from.

    Attributes
    ----------
    rows : tuple of FineTuning
    curves : mapping of Start to Curve
    overlays : mapping of FineTuning to Path
        `.npz` files with `image`, `truth` and `predicted`.
    """

    rows: tuple[FineTuning, ...]
    curves: Mapping[Start, Curve]
    overlays: Mapping[FineTuning, Path]

    @property
    def schedules(self) -> tuple[str, ...]:
        """Names of the rows' schedules, sorted."""
        return tuple(sorted({row.schedule for row in self.rows}))


def read_results(paths: Sequence[Path]) -> Results:
    """Read folders of results and CSV files, together.

    Raises
    ------
    DataError
        If there are none, a row lacks a column, or two rows are of the same cell.
    """
    found: dict[tuple[str, int, str], FineTuning] = {}
    curves: dict[Start, Curve] = {}
    overlays: dict[FineTuning, Path] = {}
    for path in paths:
        rows = _read_rows(path)
        for row in rows:
            same = (row.schedule, row.seed, row.key)
            if same in found:
                raise DataError(
                    f"'{path}' holds {row.key} of schedule '{row.schedule}' again; give each result once."
                )
            found[same] = row
        curves |= _read_curves(path)
        if path.is_dir():
            overlays |= {row: file for row in rows if (file := path / "overlays" / f"{row.key}.npz").exists()}
    ordered = sorted(found.values(), key=_in_the_papers_order)
    return Results(tuple(ordered), curves, overlays)


def in_order(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Each name once: the known ones in their order, then the others alphabetically."""
    there, known = set(names), list(known)
    return [n for n in known if n in there] + sorted(there - set(known))


def write_rows(rows: Sequence[FineTuning], path: Path) -> None:
    """Write `results.csv`: one row for each fine-tuning."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(FineTuning)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def write_curves(curves: Mapping[Start, Curve], path: Path) -> None:
    """Write `curves.csv`: the curves of all trainings, thinned for a figure."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_CURVE_COLUMNS)
        for start, curve in sorted(curves.items()):
            points = zip(curve.iteration, curve.seconds, curve.bce, strict=True)
            writer.writerows([*start, f"{i:g}", f"{s:.1f}", f"{b:.6f}"] for i, s, b in points)


def _read_rows(path: Path) -> list[FineTuning]:
    if (path / "cells").is_dir():
        files = sorted((path / "cells").glob("*.json"))
        rows = [_row(json.loads(file.read_text(encoding="utf-8")), file) for file in files]
    else:
        file = path / RESULTS_FILE if path.is_dir() else path
        if not file.exists():
            raise DataError(f"'{path}' holds neither cells/*.json nor {RESULTS_FILE}: no results to report.")
        with file.open(newline="", encoding="utf-8") as lines:
            rows = [_row(line, file) for line in csv.DictReader(lines)]
    if not rows:
        raise DataError(f"'{path}' holds no results yet.")
    return rows


def _row(values: Mapping[str, object], file: Path) -> FineTuning:
    if missing := [field.name for field in fields(FineTuning) if values.get(field.name) is None]:
        raise DataError(f"'{file}' lacks the column {', '.join(missing)}; is it a result of 'protocol'?")
    read: dict[str, Callable[[str], object]] = {"int": int, "float": float, "str": str}
    try:
        typed = {f.name: read[str(f.type)](str(values[f.name])) for f in fields(FineTuning)}
    except ValueError as error:
        raise DataError(f"'{file}' holds a value that is not a number: {error}.") from error
    return FineTuning(**typed)  # type: ignore[arg-type]


def _in_the_papers_order(row: FineTuning) -> tuple[object, ...]:
    from ...datasets.five_sets import SOURCE_NAMES

    def place(name: str, known: Iterable[str]) -> tuple[int, str]:
        names = list(known)
        return (names.index(name) if name in names else len(names)), name

    return (
        row.schedule,
        place(row.arch, ARCHITECTURES),
        place(row.target, SOURCE_NAMES),
        place(row.method, METHODS),
        row.k_shot,
        row.selection,
        row.seed,
    )


def _read_curves(path: Path) -> dict[Start, Curve]:
    """Curves of a folder's trainings, or of the table that a report wrote beside its results."""
    points: dict[Start, list[tuple[float, float, float]]] = defaultdict(list)
    for file in sorted(path.glob(f"starts/*/{CURVES_FILE}")):
        settings = json.loads((file.parent / "schedule.json").read_text(encoding="utf-8"))
        points[settings["name"], *_parts(file.parent.name), settings["seed"]] = _points(file)
    table = path / CURVES_FILE if path.is_dir() else path.with_name(f"{path.stem}-{CURVES_FILE}")
    if not points and table.exists():
        with table.open(newline="", encoding="utf-8") as lines:
            for line in csv.DictReader(lines):
                start = line["schedule"], line["arch"], line["target"], line["method"], int(line["seed"])
                points[start].append((float(line["iteration"]), float(line["seconds"]), float(line["bce"])))
    return {start: _thin(np.array(of)) for start, of in points.items() if of}


def _parts(start: str) -> tuple[str, str, str]:
    """Network, target and method of a start's folder; a network and a lab's set may have a hyphen."""
    known = [name for name in NETWORKS if start.startswith(f"{name}-")]
    arch = max(known, key=len, default=start.split("-", 1)[0])
    target, method = start.removeprefix(f"{arch}-").rsplit("-", 1)
    return arch, target, method


def _points(file: Path) -> list[tuple[float, float, float]]:
    """Iteration, seconds and loss of a training; the tasks of an iteration are averaged to one point."""
    iterations: dict[int, list[tuple[float, float]]] = defaultdict(list)
    with file.open(newline="", encoding="utf-8") as lines:
        for line in csv.DictReader(lines):
            if line["bce"]:  # the last row of a running training may be half-written
                iterations[int(line["iteration"])].append((float(line["seconds"]), float(line["bce"])))
    return [
        (i, max(seconds for seconds, _ in of), float(np.mean([bce for _, bce in of])))
        for i, of in sorted(iterations.items())
    ]


def _thin(points: NDArray[np.float64]) -> Curve:
    """Thin to at most `_CURVE_POINTS` points by averaging neighbours."""
    groups = np.array_split(points, min(_CURVE_POINTS, len(points)))
    return Curve(*np.array([group.mean(axis=0) for group in groups]).T)
