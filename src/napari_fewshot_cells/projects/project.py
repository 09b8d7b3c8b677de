"""A project: images, what is painted on them, settings and the history of models, as a folder.

::

    project.json          this module's `Project`; for people to read, and written last
    annotations/          TIFF files, or for each stack a folder of them
    images/               copies of images
    models/               fine-tuned models

A recovery folder (see `recovery`) is the same without images and models.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..base.atomic_files import write_together
from ..base.errors import ProjectError
from ..data.fingerprint import Fingerprint

FORMAT = 1
MANIFEST = "project.json"
ANNOTATIONS, IMAGES, MODELS = "annotations", "images", "models"

ANNOTATION, CORRECTED = "annotation", "corrected"
"""Roles of a labels layer: an image's annotation, and a prediction that somebody has painted on."""


@dataclass(frozen=True)
class ImageRecord:
    """An image, and where its pixels are.

    Attributes
    ----------
    name : str
        The layer's.
    fingerprint : Fingerprint
    rgb : bool
    path : str or None
        Where it lay when it was opened, on the machine where that was; None for an image made in memory.
    relative : str or None
        The same, seen from the project's folder.
    copy : str or None
        A copy within the project's folder.
    reader : str or None
        The plugin that opened it.
    look : mapping
        How the viewer shows it: options of the layer.
    """

    name: str
    fingerprint: Fingerprint
    rgb: bool = False
    path: str | None = None
    relative: str | None = None
    copy: str | None = None
    reader: str | None = None
    look: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelsRecord:
    """Painted labels.

    Attributes
    ----------
    name : str
        The layer's.
    file : str
        Within the project's folder: a TIFF file, or a folder with one for each plane of a stack.
    shape : tuple of int
    dtype : str
    image : int or None
        Which of the project's images they belong to, from 0.
    role : {"annotation", "corrected"}
    whole_image : bool
        Whether 0 means background.
    painted : bool
        Whether there is any label.
    planes : tuple of str
        Those of a stack that have a file.
    look : mapping
        How the viewer shows them.
    """

    name: str
    file: str
    shape: tuple[int, ...]
    dtype: str
    image: int | None = None
    role: str = ANNOTATION
    whole_image: bool = False
    painted: bool = True
    planes: tuple[str, ...] = ()
    look: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """A fine-tuning: the model that came of it, and what is told about it."""

    model: str
    date: str = ""
    k_shot: int = 0
    shots: tuple[str, ...] = ()
    parent: str = ""
    score: str = ""
    short: str = ""


@dataclass(frozen=True)
class Settings:
    """What is chosen in the panel; None where the choice is left to the program."""

    start: str | None = None
    model: str | None = None
    continued: bool = False
    preview: bool = True
    diameter: float | None = None
    scope: str = ""
    threshold: float = 0.5
    min_size: int | None = None
    max_hole: int = 0


@dataclass(frozen=True)
class Project:
    """All of it but for labels and pixels.

    Attributes
    ----------
    images, labels, runs, settings
    models : mapping of str to str
        Files within the project's folder, by the name of the model.
    saved : str
        When; ISO 8601 in UTC.
    program : str
        What wrote it.
    """

    images: tuple[ImageRecord, ...] = ()
    labels: tuple[LabelsRecord, ...] = ()
    settings: Settings = field(default_factory=Settings)
    runs: tuple[RunRecord, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    saved: str = ""
    program: str = ""

    @property
    def annotated(self) -> int:
        """How many labels layers have something painted on them."""
        return sum(labels.painted for labels in self.labels)


def manifest_bytes(project: Project) -> bytes:
    """What ``project.json`` holds."""
    content = {"format": FORMAT, **asdict(project)}
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_manifest(folder: Path, project: Project) -> None:
    """Write ``project.json`` as a whole or not at all; raises `DataError` where it cannot be written."""
    write_together({folder / MANIFEST: manifest_bytes(project)})


def write_unfinished(folder: Path) -> None:
    """Say that the folder is to become a project: if the writing is cut off, it can be told and repeated."""
    content = {"format": FORMAT, "unfinished": True}
    write_together({folder / MANIFEST: (json.dumps(content) + "\n").encode()})


def check_target(folder: Path) -> bool:
    """Whether a folder holds a project already, which may be saved over.

    Raises
    ------
    ProjectError
        It holds other things, which nothing may be mixed with, or is no folder.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise ProjectError(f"'{folder}' is a file; choose a folder.")
    if not any(folder.iterdir()):
        return False
    if not (folder / MANIFEST).is_file():
        raise ProjectError(f"'{folder}' holds other things and no project; choose an empty or a new folder.")
    try:
        _read_content(folder)
    except ProjectError as error:
        raise ProjectError(f"{error} Nothing was saved; choose an empty or a new folder.") from error
    return True


def read_project(folder: Path) -> Project:
    """Read ``project.json``; labels, images and models are read one by one as they are needed.

    Raises
    ------
    ProjectError
        Missing, foreign, damaged, unfinished, or written by a newer version.
    """
    content = _read_content(folder)
    where = folder / MANIFEST
    if content.get("unfinished"):
        raise ProjectError(f"'{where}' was never finished: the saving was interrupted; save it once more.")
    project: Project = _parse(Project, content, "", where)
    for labels in project.labels:
        _check_inside(labels.file, where)
        if labels.image is not None and not 0 <= labels.image < len(project.images):
            raise _damaged(where, f"'{labels.name}' belongs to an image that is not listed")
        if any(size < 0 for size in labels.shape) or len(labels.shape) < 2:
            raise _damaged(where, f"'{labels.name}' cannot have the shape {labels.shape}")
    for file in [*project.models.values(), *(image.copy for image in project.images if image.copy)]:
        _check_inside(file, where)
    return project


def _read_content(folder: Path) -> dict[str, Any]:
    where = folder / MANIFEST
    if not where.is_file():
        raise ProjectError(
            f"'{folder}' is no project: there is no '{MANIFEST}' in it; choose another folder."
        )
    try:
        content = json.loads(where.read_bytes(), parse_constant=_no_number)
    except OSError as error:
        raise ProjectError(f"'{where}' cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(where, str(error)) from error
    number = content.get("format") if isinstance(content, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ProjectError(f"'{where}' was not written by napari-fewshot-cells; choose another folder.")
    if number > FORMAT:
        raise ProjectError(f"'{where}' is from a newer version of napari-fewshot-cells; update it.")
    return content  # type: ignore[no-any-return]


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _damaged(where: Path, what: str) -> ProjectError:
    return ProjectError(f"'{where}' is damaged ({what}); restore it from a copy.")


def _check_inside(file: str, where: Path) -> None:
    path = PurePosixPath(file)
    if not file or path.is_absolute() or ".." in path.parts or "\\" in file or ":" in file:
        raise _damaged(where, f"'{file}' is not in the folder of the project")


def _parse(kind: Any, value: Any, name: str, where: Path) -> Any:
    """A JSON value as what the data classes say, or a `ProjectError` that names it. Unknown keys are left."""
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise _damaged(where, f"{name} is not a list of names and values")
        hints = typing.get_type_hints(kind)
        given = {}
        for part in fields(kind):
            inner = f"{name}.{part.name}".lstrip(".")
            if part.name in value:
                given[part.name] = _parse(hints[part.name], value[part.name], inner, where)
            elif part.default is MISSING and part.default_factory is MISSING:
                raise _damaged(where, f"{inner} is missing")
        return kind(**given)  # type: ignore[operator]
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _parse(inside[0], value, name, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_parse(inside[0], item, f"{name}[{n}]", where) for n, item in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        return {key: _parse(inside[1], item, f"{name}.{key}", where) for key, item in value.items()}
    if kind is Any:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(kind, type) or type(value) is not kind:
        raise _damaged(where, f"{name} cannot be {value!r:.40}")
    if isinstance(value, float) and not math.isfinite(value):
        raise _damaged(where, f"{name} cannot be {value}")
    return value
