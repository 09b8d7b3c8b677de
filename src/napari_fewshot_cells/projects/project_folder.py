"""Write the state of a session into a folder: as a project that a person saves, or as a recovery copy.

Each file is written as a whole or not at all, and ``project.json`` comes last. Labels files are named after
their image, so that an interrupted saving never leaves one image's labels under another image's name.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..base.atomic_files import make_writable, replacing, tiff_bytes, write_together, writing
from ..base.errors import ProjectError
from ..base.version import __version__
from ..data.fingerprint import Fingerprint, fingerprint
from .label_files import FAST_LEVEL, SMALL_LEVEL, is_stack, write_labels
from .project import (
    ANNOTATION,
    ANNOTATIONS,
    IMAGES,
    MODELS,
    ImageRecord,
    LabelsRecord,
    Project,
    RunRecord,
    Settings,
    check_target,
    read_project,
    write_manifest,
    write_unfinished,
)

UNKNOWN = Fingerprint((), "", "")
"""Fingerprint of an image that was not read yet or cannot be read; it matches no other image."""

MOST_COPIED = 500 * 2**20
"""Bytes of image files that a project copies. If there are more, it only records their paths."""

MOST_IN_MEMORY = 4 * 2**30
"""Bytes; a larger image without a file is not written into a project."""

_LEFT_OVER = re.compile(r"\..+\.[a-z0-9_]{8}")  # temporary files of `write_together`
_ABANDONED = 600  # s after which no process still writes to a temporary file


@dataclass(frozen=True, eq=False)
class ImageState:
    """An image; the array is missing if its labels are open but the image is not."""

    record: ImageRecord
    array: Any = None


@dataclass(frozen=True, eq=False)
class LabelsState:
    """Labels, which are read in another thread; `write_state` chooses `record.file`."""

    record: LabelsRecord
    array: Any


@dataclass(frozen=True, eq=False)
class SessionState:
    """Everything that is saved of a session; `models` are files by the name of the model."""

    images: tuple[ImageState, ...] = ()
    labels: tuple[LabelsState, ...] = ()
    settings: Settings = field(default_factory=Settings)
    runs: tuple[RunRecord, ...] = ()
    models: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class SavedState:
    """What the folder holds after saving.

    Attributes
    ----------
    project : Project
    checksums : mapping
        Checksums of the planes, by the labels file.
    notes : tuple of str
        Lines that a person should read.
    """

    project: Project
    checksums: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...] = ()


def with_fingerprints(state: SessionState) -> SessionState:
    """The same state with the fingerprint of every image; known fingerprints are not computed again."""
    return replace(
        state, images=tuple(replace(image, record=_fingerprinted(image)) for image in state.images)
    )


def _fingerprinted(image: ImageState) -> ImageRecord:
    if image.record.fingerprint.digest or image.array is None:
        return image.record
    try:
        return replace(image.record, fingerprint=fingerprint(image.array))
    except Exception:  # a lazy image may raise any error when it is read; labels must be saved all the same
        unread = Fingerprint(tuple(image.array.shape), str(image.array.dtype), "")
        return replace(image.record, fingerprint=unread)


def write_state(
    folder: Path,
    state: SessionState,
    before: SavedState | None = None,
    *,
    scan: bool = True,
    level: int = FAST_LEVEL,
    models: Mapping[str, str] | None = None,
) -> SavedState:
    """Write labels and ``project.json`` into a folder, as far as they changed since the previous call.

    Parameters
    ----------
    folder : Path
    state : SessionState
    before : SavedState, optional
        What the previous call returned for this folder.
    scan : bool
        Whether labels may have changed; if not, only new labels are read.
    level : int
        Compression level.
    models : mapping, optional
        Paths of models inside the folder, by the name of the model.

    Raises
    ------
    DataError
        The disk is full or the folder cannot be written. The previous content stays.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    state = with_fingerprints(state)
    old = {} if before is None else {record.file: record for record in before.project.labels}
    checksums: dict[str, Mapping[str, int]] = {}
    records = []
    for file, labels in zip(_label_files(state), state.labels, strict=True):
        last = old.get(file)
        same = last is not None and last.shape == labels.record.shape
        known = before.checksums[file] if before is not None and same else {}
        if scan or last is None or not same:
            written = write_labels(folder / file, labels.array, known, level=level)
            checksums[file] = written.checksums
            facts = {"planes": written.planes, "painted": written.painted}
        else:
            checksums[file] = known
            facts = {"planes": last.planes, "painted": last.painted}
        records.append(replace(labels.record, file=file, **facts))  # type: ignore[arg-type]
    project = Project(
        images=tuple(image.record for image in state.images),
        labels=tuple(records),
        settings=state.settings,
        runs=state.runs,
        models=models or {},
        saved=datetime.now(UTC).isoformat(timespec="seconds"),
        program=f"napari-fewshot-cells {__version__}",
    )
    if before is None or project != replace(before.project, saved=project.saved) or scan:
        write_manifest(folder, project)
        _remove(folder, set(old) - set(checksums))
    return SavedState(project, checksums)


def write_project(folder: Path, state: SessionState, *, most_copied: int = MOST_COPIED) -> SavedState:
    """Write a project with copies of models and images, so that another machine can open it.

    Image files are copied if together they take at most `most_copied` bytes; images without a file are
    written as TIFF.

    Raises
    ------
    ProjectError
        The folder holds something other than a project.
    DataError
        The disk is full or the folder cannot be written. A previous project can still be opened.
    """
    there = check_target(folder)
    make_writable(folder)
    files_before: set[str] = set()
    if there:
        # A damaged or unfinished project is overwritten, and none of its files is removed
        with suppress(ProjectError):
            files_before = _files_of(read_project(folder))
    else:
        write_unfinished(folder)
    state, notes = with_fingerprints(state), []
    paths = {Path(image.record.path) for image in state.images if image.record.path}
    size = sum(path.stat().st_size for path in paths if path.is_file())
    copied = size <= most_copied
    if not copied:
        notes.append(
            f"The image files ({size / 2**20:.0f} MB) are not copied; if you move the project, move them too."
        )
    images = []
    for image in state.images:
        record, note = _keep_image(folder, image, copied=copied)
        images.append(replace(image, record=record))
        notes += [note] if note else []
    models = {}
    for name, path in state.models.items():
        if path.is_file():
            _copy(path, folder / MODELS / path.name)
            models[name] = f"{MODELS}/{path.name}"
        else:
            notes.append(f"The model '{name}' is no longer in the library.")
    kept = write_state(folder, replace(state, images=tuple(images)), level=SMALL_LEVEL, models=models)
    _remove(folder, files_before - _files_of(kept.project))
    _remove_left_over(folder)
    return replace(kept, notes=tuple(notes))


def find_image(folder: Path, record: ImageRecord) -> Path | None:
    """Path of a project's image on this machine: its copy, else the original file, or None."""
    places = [folder / record.copy] if record.copy else []
    places += [(folder / record.relative).resolve()] if record.relative else []
    places += [Path(record.path)] if record.path else []
    return next((place for place in places if place.exists()), None)


def _keep_image(folder: Path, image: ImageState, *, copied: bool) -> tuple[ImageRecord, str]:
    """Copy an image into a project, or record its path; returns its record and a note, which may be empty."""
    record, path = image.record, Path(image.record.path) if image.record.path else None
    target = folder / IMAGES / _key(record)
    if path is not None and path.exists():
        if path.is_file() and copied:
            target = target.with_name(target.name + path.suffix.lower())
            _copy(path, target)
            return replace(record, copy=f"{IMAGES}/{target.name}"), ""
        return replace(record, relative=_relative(path, folder)), ""
    if image.array is None:
        return record, f"The image '{record.name}' is not open and not saved; open it and save again."
    if int(np.prod(image.array.shape)) * np.dtype(image.array.dtype).itemsize > MOST_IN_MEMORY:
        return record, f"The image '{record.name}' is too large for the project; save it as a file first."
    target = target.with_name(target.name + ".tif")
    if not target.is_file():  # the name contains the fingerprint, so an existing file is the same image
        with writing(target):
            target.parent.mkdir(exist_ok=True)
        write_together({target: tiff_bytes(np.asarray(image.array), rgb=record.rgb)})
    return replace(record, copy=f"{IMAGES}/{target.name}"), ""


def _relative(path: Path, folder: Path) -> str | None:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive
        return None


def _copy(source: Path, target: Path) -> None:
    """Copy a file as a whole or not at all, unless the copy exists already."""
    with writing(target):
        target.parent.mkdir(exist_ok=True)
        there, here = (file.stat() if file.is_file() else None for file in (target, source))
        if there and here and (there.st_size, int(there.st_mtime)) == (here.st_size, int(here.st_mtime)):
            return
        with replacing(target) as copy, source.open("rb") as original:
            shutil.copyfileobj(original, copy, 2**20)
        shutil.copystat(source, target)  # last: without its time, an interrupted copy is made again


def _key(record: ImageRecord) -> str:
    """Stem of an image's files: readable, and different for different images."""
    words = re.sub(r"[^\w.-]+", "-", record.name).strip("-.")[:40] or "image"
    return f"{words}-{record.fingerprint.digest[:8] or 'unread'}"


def _label_files(state: SessionState) -> list[str]:
    files: list[str] = []
    for labels in state.labels:
        record = labels.record
        image = None if record.image is None else state.images[record.image].record
        key = _key(ImageRecord(record.name, UNKNOWN) if image is None else image)
        key = key if record.role == ANNOTATION else f"{record.role}-{key}"
        ending = "" if is_stack(record.shape) else ".tif"
        names = (f"{ANNOTATIONS}/{key}{number}{ending}" for number in _numbers())
        files.append(next(name for name in names if name not in files))
    return files


def _numbers() -> Iterator[str]:
    yield ""
    yield from (f"-{number}" for number in itertools.count(2))


def _files_of(project: Project) -> set[str]:
    copies = {image.copy for image in project.images if image.copy}
    return {labels.file for labels in project.labels} | copies | set(project.models.values())


def _remove(folder: Path, files: Iterable[str]) -> None:
    """Remove files that an earlier ``project.json`` listed and the new one does not."""
    for file in files:
        place = folder / file
        with suppress(OSError):  # a file that stays does no harm
            for plane in place.glob("*.tif") if place.is_dir() else ():
                plane.unlink()
            place.rmdir() if place.is_dir() else place.unlink()


def _remove_left_over(folder: Path) -> None:
    """Remove the half-written files of a killed saving."""
    for part in (folder, *(folder / name for name in (ANNOTATIONS, IMAGES, MODELS))):
        for file in part.glob(".*"):
            with suppress(OSError):
                if _LEFT_OVER.fullmatch(file.name) and time.time() - file.stat().st_mtime > _ABANDONED:
                    file.unlink()
