"""Segment many files with one model, and report on each.

A bad file never stops the others. Existing results are overwritten only on request, so that a stopped batch
continues where it was. Used by ``napari-fewshot predict`` and by the panel.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..base.atomic_files import tiff_bytes, write_atomically, write_together, writing
from ..base.errors import DataError, ImageError
from ..base.progress import Progress
from ..data.image_files import list_images, read_plane
from ..data.plane import FloatImage, Labels, Plane
from ..data.readers import stem_of
from ..models.model import Model
from .instances import label_instances
from .measurements import measure
from .probability import cell_steps

DONE, SKIPPED, EXISTS, FAILED = "done", "skipped", "exists", "failed"

REPORT = "report.csv"


@dataclass(frozen=True)
class BatchSettings:
    """Which results are written for each image, and how objects are made from the probability.

    Attributes
    ----------
    probability : bool
        Write ``<stem>_probability.tif`` beside the labels, ``<stem>.tif``.
    measurements : bool
        Write ``<stem>_objects.csv``, lengths in pixels.
    overwrite : bool
        Replace existing results.
    threshold, min_size, max_hole
        As in `instances.label_instances`.
    """

    probability: bool = False
    measurements: bool = False
    overwrite: bool = False
    threshold: float = 0.5
    min_size: int | None = None
    max_hole: int = 0


@dataclass(frozen=True)
class FileBegun:
    """A file is about to be read."""

    file: Path
    number: int
    total: int


@dataclass(frozen=True)
class FileReport:
    """Outcome of one file: a row of the report.

    Attributes
    ----------
    file : Path
    status : {"done", "skipped", "exists", "failed"}
        Skipped: the file cannot be used. Exists: its results are left as they were. Failed: results cannot be
        made.
    objects : int or None
    seconds : float
    message : str
        Why the file is not done; empty if it is.
    """

    file: Path
    status: str
    objects: int | None = None
    seconds: float = 0.0
    message: str = ""


BatchEvent = FileBegun | FileReport | Progress


def find_inputs(paths: Iterable[Path]) -> list[Path]:
    """All images that paths name, each once; raises `DataError` if a path names none."""
    files: dict[Path, Path] = {}
    for path in paths:
        for file in list_images(path):
            files.setdefault(file.resolve(), file)
    return list(files.values())


def outputs_of(file: Path, out: Path, settings: BatchSettings) -> list[Path]:
    """Files that are written for an image: its labels first, then the other chosen results."""
    stem = stem_of(file)
    names = [f"{stem}.tif"]
    if settings.probability:
        names.append(f"{stem}_probability.tif")
    if settings.measurements:
        names.append(f"{stem}_objects.csv")
    return [out / name for name in names]


def find_conflicts(files: Sequence[Path], out: Path, settings: BatchSettings) -> dict[Path, str]:
    """Files whose results would overwrite an input or an earlier file's results, and the reason."""
    read = {file.resolve() for file in files}
    writers: dict[Path, Path] = {}
    conflicts: dict[Path, str] = {}
    for file in files:
        results = outputs_of(file, out, settings)
        for result in results:
            if result.resolve() in read:
                conflicts[file] = (
                    f"'{result}' is an input and would be overwritten; choose another output folder."
                )
            elif result in writers:
                conflicts[file] = (
                    f"'{writers[result]}' and '{file}' would both be written to '{result}'; "
                    "rename one, or run twice."
                )
        if file not in conflicts:
            writers |= dict.fromkeys(results, file)
    return conflicts


def predict_files(
    model: Model,
    files: Sequence[Path],
    out: Path,
    settings: BatchSettings = BatchSettings(),
    *,
    device: str = "cpu",
    report: Path | None = None,
) -> Generator[BatchEvent, None, None]:
    """Segment files one after the other.

    Yields a `FileBegun`, progress, and a `FileReport` for each file. Closing the generator cancels: no file
    is half-written, and the report lists the files finished before.

    Parameters
    ----------
    model : Model
    files : sequence of Path
        See `find_inputs`.
    out : Path
        Folder of the results; it must exist.
    settings : BatchSettings
    device : str
    report : Path, optional
        A table of all files, rewritten after each file. Rows about other files from earlier runs are kept.

    Raises
    ------
    DataError
        The report cannot be written, or a file of that name exists that is not a report.
    """
    conflicts = find_conflicts(files, out, settings)
    told = {} if report is None else {row.file: row for row in read_report(report)}
    for number, file in enumerate(files, start=1):
        yield FileBegun(file, number, len(files))
        started = time.perf_counter()
        there = [path for path in outputs_of(file, out, settings) if path.exists()]
        if file in conflicts:
            row = FileReport(file, SKIPPED, message=conflicts[file])
        elif there and not settings.overwrite:
            row = _left_alone(file, there, outputs_of(file, out, settings), told.get(file))
        else:
            row = yield from _predict_one(model, file, out, settings, device)
        if row.status != EXISTS:
            row = FileReport(row.file, row.status, row.objects, time.perf_counter() - started, row.message)
        if report is not None:
            told[file] = row
            write_report(told.values(), report)
        yield row


def _left_alone(file: Path, there: list[Path], wanted: list[Path], before: FileReport | None) -> FileReport:
    missing = [path.name for path in wanted if path not in there]
    if missing:
        names = " and ".join(missing)
        message = f"'{there[0].name}' is there, {names} is not; delete the first, or overwrite."
    else:
        message = "left as it was"
    objects = None if before is None else before.objects
    return FileReport(file, EXISTS, objects, message=message)


def _predict_one(
    model: Model, file: Path, out: Path, settings: BatchSettings, device: str
) -> Generator[Progress, None, FileReport]:
    try:
        plane = read_plane(file)
        maps = yield from cell_steps(model, plane, device=device)
        labels = label_instances(
            maps.probability,
            contact=maps.contact,
            threshold=settings.threshold,
            diameter=model.card.diameter,
            min_size=settings.min_size,
            max_hole=settings.max_hole,
        )
        contents = _contents(plane, maps.probability, labels, settings)
        write_together(dict(zip(outputs_of(file, out, settings), contents, strict=True)))
    except ImageError as error:
        return FileReport(file, SKIPPED, message=str(error))
    except DataError as error:
        return FileReport(file, FAILED, message=str(error))
    except (MemoryError, torch.OutOfMemoryError):
        hint = "" if device == "cpu" else "; use --device cpu"
        return FileReport(file, FAILED, message=f"The memory of '{device}' does not suffice{hint}.")
    return FileReport(file, DONE, int(labels.max()))


def _contents(
    plane: Plane, probability: FloatImage, labels: Labels, settings: BatchSettings
) -> Generator[bytes, None, None]:
    """Contents of the files that `outputs_of` names, in that order."""
    yield tiff_bytes(labels)
    if settings.probability:
        yield tiff_bytes(probability)
    if settings.measurements:
        table = measure(labels, plane.pixels)
        heads = ["object" if name == "index" else name for name in table]
        yield _csv_bytes(heads, zip(*(np.asarray(column).tolist() for column in table.values()), strict=True))


# --- the report


def write_report(rows: Iterable[FileReport], path: Path) -> None:
    """Write the report as a whole or not at all; raises `DataError` if it cannot be written."""
    lines = [
        ["" if value is None else value for value in (str(row.file), *astuple(row)[1:3])]
        + [f"{row.seconds:.2f}", " ".join(row.message.split())]
        for row in rows
    ]
    with writing(path):
        write_atomically(path, _csv_bytes(_REPORT_HEADS, lines))


def read_report(path: Path) -> list[FileReport]:
    """Read the rows of a report; there are none if the file does not exist.

    Raises
    ------
    DataError
        The file is not a report.
    """
    if not path.exists():
        return []
    foreign = f"'{path}' is no report of a batch; rename it or choose another folder."
    try:
        with writing(path), path.open(encoding="utf-8-sig", newline="") as file:
            heads, *lines = csv.reader(file)
        if heads != _REPORT_HEADS:
            raise DataError(foreign)
        return [
            FileReport(Path(name), status, int(objects) if objects else None, float(seconds), message)
            for name, status, objects, seconds, message in lines
        ]
    except ValueError as error:
        raise error if isinstance(error, DataError) else DataError(foreign) from error


_REPORT_HEADS = [field.name for field in fields(FileReport)]


def _csv_bytes(heads: Sequence[str], lines: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(lines)
    # with a byte order mark, by which Excel knows UTF-8
    return text.getvalue().encode("utf-8-sig")
