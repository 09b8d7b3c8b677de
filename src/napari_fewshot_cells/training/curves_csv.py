"""Learning curves: a CSV file that a run appends to, and that a resumed run first cuts back."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path


def append_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Append rows; a new file gets its header first, one that is there keeps the columns it began with."""
    is_new = not path.exists() or path.stat().st_size == 0
    columns = header
    if not is_new:
        with path.open(newline="") as file:
            columns = next(csv.reader(file))
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if is_new:
            writer.writeheader()
        writer.writerows(dict(zip(header, row, strict=True)) for row in rows)


def cut_rows(path: Path, iteration: int) -> None:
    """Drop the rows of iterations after the checkpoint, because they will be run again.

    The first column is the iteration. Also drops a last row that a killed process left unfinished.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    whole = [row for row in rows if len(row) == len(header) and int(row[0]) <= iteration]
    if len(whole) < len(rows):
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *whole])
