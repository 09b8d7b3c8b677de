"""The paper's complete experiment, 2 networks × 5 targets × 5 methods × 5 K × 10 selections, on Dask."""

from __future__ import annotations

import csv
import io
import itertools
import traceback
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.atomic_files import write_atomically
from ..base.errors import DataError, FewShotError
from ..training.config import MODEL_FILE
from .plan import Cell, Plan, Start, check_folders, check_row, is_trained, read_json
from .run_cell import run_cell, train_start

if TYPE_CHECKING:
    from distributed import Client, Future

K_SHOTS = (1, 3, 5, 7, 10)
SELECTIONS = 10

COLUMNS = (
    "arch", "target", "method", "k_shot", "selection", "iou", "plain_iou", "seconds",
    "schedule", "seed", "commit", "device", "n_test", "iterations", "train_seconds",
    "date", "machine", "software",
)  # fmt: skip
"""Columns of a result; a cell's file also holds the settings."""

_METHODS_BY_URGENCY = ("complete", "bce", "transfer", "bce+er", "bce+d")
_ABLATIONS = ("bce+er", "bce+d")
_FIRST_K_SHOTS = (1, 5, 10)
_FIRST_SELECTIONS = 5


@dataclass(frozen=True)
class JobDone:
    """The end of one job.

    Attributes
    ----------
    start : Start
    cell : Cell or None
        None if the job was the training of the start.
    done, total : int
        Jobs of this run.
    row : dict or None
        The result of the cell.
    error : BaseException or None
        Why it failed; if the start failed, its cells have the start's error.
    trace : str
        Traceback of the error, in case it is a bug.
    """

    start: Start
    cell: Cell | None
    done: int
    total: int
    row: dict[str, Any] | None = None
    error: BaseException | None = None
    trace: str = ""

    @property
    def key(self) -> str:
        """Name of the start or the cell."""
        return self.start.key if self.cell is None else self.cell.key


def matrix(
    archs: Iterable[str],
    targets: Iterable[str],
    methods: Iterable[str],
    k_shots: Iterable[int] = K_SHOTS,
    selections: Iterable[int] = range(SELECTIONS),
) -> list[Cell]:
    """The cells of the experiment, or of a part of it, in order of urgency.

    Even an interrupted run should give a result. So the three methods that the paper's claim compares
    (complete loss, L_BCE, transfer learning) come first, network by network, at K = 1, 5, 10 and on five
    selections. Then come the ablations, and last K = 3, 7 and the other selections.
    """
    urgent_first = sorted(set(methods), key=_METHODS_BY_URGENCY.index)
    cells = [
        Cell(arch, target, method, k_shot, selection)
        for arch, target, method, selection, k_shot in itertools.product(
            archs, targets, urgent_first, selections, k_shots
        )
    ]

    def stage(cell: Cell) -> tuple[bool, bool]:
        is_first = cell.k_shot in _FIRST_K_SHOTS and cell.selection < _FIRST_SELECTIONS
        return not is_first, cell.method in _ABLATIONS

    return sorted(cells, key=stage)  # stable


def missing_cells(cells: Sequence[Cell], plan: Plan) -> list[Cell]:
    """The cells that have no result yet, in their order.

    Raises
    ------
    DataError
        If the folder holds a result with another schedule, seed or number of test images, for these or other
        cells.
    """
    rows = _rows(plan.out)
    for path, row in rows.items():
        check_row(plan, row, path)
    for start in dict.fromkeys(cell.start for cell in cells):
        is_trained(plan, start)
    return [cell for cell in cells if plan.cell_file(cell) not in rows]


def untrained_starts(missing: Iterable[Cell], plan: Plan) -> list[Start]:
    """The trainings that missing cells need, in their order."""
    return [start for start in dict.fromkeys(cell.start for cell in missing) if not is_trained(plan, start)]


def run_matrix(cells: Sequence[Cell], plan: Plan, client: Client) -> Generator[JobDone, None, None]:
    """Run the missing cells, and the trainings they need, on a Dask cluster.

    If a worker dies, another one runs its job again. A failing job stops no others, except the cells of a
    start that failed.

    Parameters
    ----------
    cells : sequence of Cell
        The first are the most urgent.
    plan : Plan
        Its folders must be the same for this process and all workers.
    client : distributed.Client

    Yields
    ------
    JobDone
        As jobs end. Closing the generator cancels the jobs that have not begun; the others run to their end.

    Raises
    ------
    DataError
        See `missing_cells`; also if a worker does not see the folders.
    FewShotError
        If a worker runs several jobs in one process.
    """
    from distributed import as_completed

    missing = missing_cells(cells, plan)
    check_workers(plan, client)
    jobs = _submit(missing, plan, client)
    try:
        for done, future in enumerate(as_completed(list(jobs)), start=1):
            yield _ended(future, *jobs[future], done, len(jobs))
    finally:
        waiting = [future for future in jobs if not future.done()]
        if waiting and client.status == "running":
            client.cancel(waiting)


def check_workers(plan: Plan, client: Client) -> None:
    """Make sure that the workers connected so far can do the jobs.

    Raises
    ------
    DataError
        If one does not see DATA or OUT.
    FewShotError
        If one has several threads: jobs in one process would share PyTorch's random state and threads.
    """
    several = [address for address, threads in client.nthreads().items() if threads > 1]
    if several:
        raise FewShotError(
            f"The worker {several[0]} runs several jobs in one process; start it with --nthreads 1."
        )
    client.run(check_folders, plan)


def collect(out: Path) -> list[dict[str, Any]]:
    """All results in a folder, from any run, with the keys of `COLUMNS`."""
    rows = ({name: row[name] for name in COLUMNS} for row in _rows(out).values())
    return sorted(rows, key=lambda row: tuple(row[name] for name in COLUMNS[:5]))


def write_csv(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Write results as a table, one row for each fine-tuning."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, buffer.getvalue().encode())


def _submit(
    missing: Sequence[Cell], plan: Plan, client: Client
) -> dict[Future[Any], tuple[Start, Cell | None]]:
    """A future for each job. Keys also name the folder, because a scheduler may serve several experiments."""
    starts: dict[Start, Future[Path] | Path] = {}
    jobs: dict[Future[Any], tuple[Start, Cell | None]] = {}
    out = str(plan.out)
    for urgency, cell in enumerate(missing):
        start = cell.start
        if start not in starts and is_trained(plan, start):
            starts[start] = plan.start_folder(start) / MODEL_FILE
        elif start not in starts:
            # as urgent as the first of its cells
            training = client.submit(
                train_start, plan, start, key=("start", start.key, out), priority=-urgency
            )
            starts[start] = training
            jobs[training] = start, None
        fine_tuning = client.submit(
            run_cell, plan, cell, starts[start], key=("cell", cell.key, out), priority=-urgency
        )
        jobs[fine_tuning] = start, cell
    return jobs


def _ended(future: Future[Any], start: Start, cell: Cell | None, done: int, total: int) -> JobDone:
    if future.status == "finished":
        return JobDone(start, cell, done, total, None if cell is None else future.result())
    error = future.exception()
    trace = "".join(traceback.format_exception(type(error), error, future.traceback()))
    return JobDone(start, cell, done, total, error=error, trace=trace)


def _rows(out: Path) -> dict[Path, dict[str, Any]]:
    rows = {path: read_json(path) for path in sorted((out / "cells").glob("*.json"))}
    for path, row in rows.items():
        if not row.keys() >= {*COLUMNS, "settings"}:
            raise DataError(f"'{path}' is no result of this version; remove it.")
    return rows
