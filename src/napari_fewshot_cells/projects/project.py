"""A project folder: images, their annotations, settings, and the history of models.

::

    project.json          this module's `Project`, readable for people; written last
    annotations/          a TIFF file for each picture, a folder of them for each stack
    images/               copies of images
    models/               fine-tuned models

A recovery folder (see `recovery`) has the same layout without images and models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ..base.atomic_files import write_together
from ..base.errors import ProjectError
from ..base.validation import Count, Date, InvalidError, parse_json, validated
from ..data.fingerprint import Fingerprint

FORMAT = 1
MANIFEST = "project.json"
ANNOTATIONS, IMAGES, MODELS = "annotations", "images", "models"

ANNOTATION, CORRECTED = "annotation", "corrected"
"""Roles of a labels layer: the annotation of an image, and a prediction that a person has corrected."""


def _checked_file(file: str) -> str:
    path = PurePosixPath(file)
    if not file or path.is_absolute() or ".." in path.parts or "\\" in file or ":" in file:
        raise ValueError("it is not in the folder of the project")
    return file


File = Annotated[str, AfterValidator(_checked_file)]
"""Path inside the project's folder, with / between names."""


@dataclass(frozen=True)
class ImageRecord:
    """An image, and the places of its pixels.

    Attributes
    ----------
    name : str
        Name of the layer.
    fingerprint : Fingerprint
    rgb : bool
    path : str or None
        Its path when it was opened, on the machine that opened it; None for an image made in memory.
    relative : str or None
        The same path, relative to the project's folder.
    copy : str or None
        Path of a copy inside the project's folder.
    reader : str or None
        The napari plugin that opened it.
    look : mapping
        How the viewer shows the image: options of the layer.
    """

    name: str
    fingerprint: Fingerprint
    rgb: bool = False
    path: str | None = None
    relative: str | None = None
    copy: File | None = None
    reader: str | None = None
    look: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelsRecord:
    """Painted labels.

    Attributes
    ----------
    name : str
        Name of the layer.
    file : str
        Path inside the project's folder: a TIFF file, or for a stack a folder with one TIFF per plane.
    shape : tuple of int
    dtype : str
    image : int or None
        Index of the project's image to which the labels belong.
    role : {"annotation", "corrected"}
    whole_image : bool
        Whether the whole image is annotated: then 0 means background.
    painted : bool
        Whether any pixel is labelled.
    planes : tuple of str
        Names of those planes of a stack that have a file.
    look : mapping
        How the viewer shows the labels.
    """

    name: str
    file: File
    shape: Annotated[tuple[Count, ...], Field(min_length=2)]
    dtype: str
    image: Count | None = None
    role: str = ANNOTATION
    whole_image: bool = False
    painted: bool = True
    planes: tuple[str, ...] = ()
    look: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """One fine-tuning: the resulting model, and what *History* shows about it."""

    model: str
    date: Date = ""
    k_shot: Count = 0
    shots: tuple[str, ...] = ()
    parent: str = ""
    score: str = ""
    short: str = ""


@dataclass(frozen=True)
class Settings:
    """The choices made in the panel; None leaves a choice to the program."""

    start: str | None = None
    model: str | None = None
    continued: bool = False
    preview: bool = True
    diameter: Annotated[float, Field(ge=0, le=1e6)] | None = None
    scope: str = ""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    min_size: Count | None = None
    max_hole: Count = 0


@dataclass(frozen=True)
class Project:
    """All facts about a project, without labels and pixels.

    Attributes
    ----------
    images, labels, runs, settings
    models : mapping of str to str
        Paths inside the project's folder, by the name of the model.
    saved : str
        Time of saving; ISO 8601 in UTC.
    program : str
        Name and version of the program that saved the project.
    """

    images: tuple[ImageRecord, ...] = ()
    labels: tuple[LabelsRecord, ...] = ()
    settings: Settings = field(default_factory=Settings)
    runs: tuple[RunRecord, ...] = ()
    models: Mapping[str, File] = field(default_factory=dict)
    saved: Date = ""
    program: str = ""

    @property
    def annotated(self) -> int:
        """Number of labels layers with any labelled pixel."""
        return sum(labels.painted for labels in self.labels)


def manifest_bytes(project: Project) -> bytes:
    """Content of ``project.json``."""
    content = {"format": FORMAT, **asdict(project)}
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_manifest(folder: Path, project: Project) -> None:
    """Write ``project.json`` as a whole or not at all; raises `DataError` if it cannot be written."""
    write_together({folder / MANIFEST: manifest_bytes(project)})


def write_unfinished(folder: Path) -> None:
    """Mark a folder as an unfinished project, so that an interrupted saving can be repeated."""
    content = {"format": FORMAT, "unfinished": True}
    write_together({folder / MANIFEST: (json.dumps(content) + "\n").encode()})


def check_target(folder: Path) -> bool:
    """Whether a folder already holds a project, which may be overwritten.

    Raises
    ------
    ProjectError
        The path is not a folder, or the folder holds something other than a project.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise ProjectError(f"'{folder}' is a file; choose a folder.")
    if not any(folder.iterdir()):
        return False
    if not (folder / MANIFEST).is_file():
        raise ProjectError(f"'{folder}' holds other files and no project; choose an empty or a new folder.")
    try:
        _read_content(folder)
    except ProjectError as error:
        raise ProjectError(f"{error} Nothing was saved; choose an empty or a new folder.") from error
    return True


def read_project(folder: Path) -> Project:
    """Read ``project.json``. Labels, images and models are read later, one by one.

    Raises
    ------
    ProjectError
        The file is missing, foreign, damaged, unfinished, or written by a newer version.
    """
    content = _read_content(folder)
    where = folder / MANIFEST
    if content.get("unfinished"):
        raise ProjectError(f"'{where}' was never finished: saving was interrupted; save the project again.")
    try:
        project = validated(Project, content)
    except InvalidError as error:
        raise _damaged(where, str(error)) from error
    for number, labels in enumerate(project.labels):
        if labels.image is not None and labels.image >= len(project.images):
            raise _damaged(where, f"labels[{number}] belongs to an image that is not listed")
    return project


def _read_content(folder: Path) -> dict[str, Any]:
    where = folder / MANIFEST
    if not where.is_file():
        raise ProjectError(f"'{folder}' is not a project: it holds no '{MANIFEST}'; choose another folder.")
    try:
        content = parse_json(where.read_bytes(), allow_nan=False)
    except OSError as error:
        raise ProjectError(f"'{where}' cannot be read: {error.strerror or error}.") from error
    except InvalidError as error:
        raise _damaged(where, str(error)) from error
    number = content.get("format") if isinstance(content, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ProjectError(f"'{where}' was not written by napari-fewshot-cells; choose another folder.")
    if number > FORMAT:
        raise ProjectError(f"'{where}' is from a newer version of napari-fewshot-cells; update it.")
    return content  # type: ignore[no-any-return]


def _damaged(where: Path, what: str) -> ProjectError:
    return ProjectError(f"'{where}' is damaged ({what}); restore it from a copy.")
