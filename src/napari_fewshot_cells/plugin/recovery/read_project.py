"""Reads a project in a worker thread: yields what can be read, and notes for the user on the rest."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...base.errors import FewShotError, ModelError, ProjectError
from ..layers.file_layer import read_layer
from .snapshot import look_options

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from napari.layers import Image

    from ...data.fingerprint import Fingerprint
    from ...models.library import ModelEntry
    from ...projects.project import ImageRecord, LabelsRecord, Project


@dataclass(frozen=True, eq=False)
class OpenedModels:
    """The library with the project's models, and the name of each in the library."""

    entries: tuple[ModelEntry, ...]
    names: dict[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """An image of a project.

    Attributes
    ----------
    number : int
        Index of the image in the project.
    layer : Image or None
        The layer, if the image is already open.
    values : ndarray or None
        The pixels, if they could be read.
    options : dict
        Options of the new layer.
    path : Path or None
        A file that only the reader plugin which opened it before can read.
    note : str
        What is wrong, for the user.
    """

    number: int
    layer: Image | None = None
    values: np.ndarray | None = None
    options: dict[str, Any] | None = None
    path: Path | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class OpenedLabels:
    """Painted labels of a project; `values` is None if they could not be read."""

    record: LabelsRecord
    values: np.ndarray | None
    notes: tuple[str, ...]


Opened = OpenedModels | OpenedImage | OpenedLabels


def open_job(
    folder: Path, project: Project, there: Sequence[tuple[Image, Any]]
) -> Generator[Opened, None, None]:
    """Read the models, images and labels of a project.

    Parameters
    ----------
    folder : Path
    project : Project
    there : sequence of (Image, array)
        The open images and their pixels.
    """
    yield _models(folder, project)
    known = {fingerprint_or_none(array): layer for layer, array in there}
    for number, record in enumerate(project.images):
        yield _image(folder, record, number, known)
    for labels in project.labels:
        yield _labels(folder, labels)


def fingerprint_or_none(array: Any) -> Fingerprint | None:
    """The fingerprint of an array; None if the array cannot be read."""
    from ...data.fingerprint import fingerprint

    try:
        return fingerprint(array)
    except Exception:  # a lazy image may raise anything when it is read
        return None


def is_same_image(record: ImageRecord, found: Fingerprint | None) -> bool:
    """Whether a fingerprint is that of a recorded image. Without a digest, shape and type decide."""
    wanted = record.fingerprint
    if found is None or (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return False
    return not wanted.digest or found.digest == wanted.digest


def _image(
    folder: Path, record: ImageRecord, number: int, known: dict[Fingerprint | None, Image]
) -> OpenedImage:
    from ...projects.project_folder import find_image

    if record.fingerprint.digest and record.fingerprint in known:
        return OpenedImage(number, layer=known[record.fingerprint])
    waits = "Its annotation is kept: open the image and it is attached."
    path = find_image(folder, record)
    if path is None and record.path is None:
        return OpenedImage(number, note=f"'{record.name}' was never a file and is not open. {waits}")
    if path is None:
        return OpenedImage(number, note=f"'{record.name}' is not found at '{record.path}'. {waits}")
    other = f"'{path}' no longer holds the image '{record.name}' that was annotated. {waits}"
    try:
        values, options = read_layer(path)
    except FewShotError as error:
        return OpenedImage(number, path=path, note=f"{error} {waits}")
    if not is_same_image(record, fingerprint_or_none(values)):
        return OpenedImage(number, path=path, note=other)
    look = look_options(record.look)
    metadata = dict(options.get("metadata", {}))
    for key, facts in look.pop("metadata").items():
        metadata[key] = {**metadata.get(key, {}), **facts} if isinstance(facts, dict) else facts
    options = {**options, **look, "name": record.name, "rgb": record.rgb, "metadata": metadata}
    return OpenedImage(number, values=values, options=options)


def _labels(folder: Path, record: LabelsRecord) -> OpenedLabels:
    from ...projects.label_files import read_labels

    try:
        values, notes = read_labels(folder / record.file, record.shape, record.dtype, record.planes)
    except ProjectError as error:
        return OpenedLabels(record, None, (str(error),))
    return OpenedLabels(record, values, tuple(notes))


def _models(folder: Path, project: Project) -> OpenedModels:
    from ...base.atomic_files import writing
    from ...models.library import library_dir, list_models, save_model, unused_name
    from ...models.model import weights_sha256
    from ...models.model_file import read_model

    names, notes = {}, []
    for name, file in project.models.items():
        own = {entry.name: entry for entry in list_models()}
        try:
            model = read_model(folder / file)
            if name in own and weights_sha256(read_model(own[name].path)) == weights_sha256(model):
                names[name] = name
                continue
            with writing(library_dir()):
                names[name] = save_model(model, unused_name(name)).name
        except FewShotError as error:
            notes.append(str(error))
    used = {run.model for run in project.runs} | {project.settings.model} - {None}
    have = {entry.name for entry in list_models()}
    gone = sorted(str(name) for name in used if names.get(str(name), name) not in have)
    if gone and not notes:
        notes.append(str(ModelError(f"The library no longer has the model '{gone[0]}'.")))
    return OpenedModels(tuple(list_models()), names, tuple(notes))
