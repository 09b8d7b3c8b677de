"""Learning curves as a CSV file: a run appends rows, and a resumed run first cuts it back."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path


def append_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Append rows. A new file starts with the header; an existing file keeps its columns."""
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
    """Drop the rows of iterations after the checkpoint, because these will run again.

    The first column is the iteration. An unfinished last row of a killed process is dropped too.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    whole = [row for row in rows if len(row) == len(header) and int(row[0]) <= iteration]
    if len(whole) < len(rows):
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *whole])
