"""What a person prefers in the window, kept from one start to the next in one small readable file.

Only habits are kept. What follows from an image or an annotation (cell diameter, threshold, model in use) is
not: on the next image it would be wrong without anybody seeing why.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ..base.atomic_files import write_atomically, writing
from ..base.errors import DataError
from ..base.user_folder import user_home
from ..base.validation import InvalidError, parse_json, validated

FORMAT = 1
_OF_US = "napari-fewshot-cells preferences"
_LARGEST = 1_000_000  # bytes; ours has some hundred

Area = Annotated[int, Field(ge=0, lt=2**31)]
"""In pixels."""


Scope = Literal["this image", "all planes", "all images"]
"""What *Predict* works on."""


@dataclass(frozen=True)
class Preferences:
    """Choices that outlive a session.

    Attributes
    ----------
    network : str or None
        Name of the model that fine-tuning begins with; None is the first of the library.
    preview : bool
        Show what a training has learnt so far.
    scope : {"this image", "all planes", "all images"}
        What *Predict* works on.
    min_size : int or None
        Area in pixels below which objects are dropped; None follows from the size of a typical cell.
    max_hole : int
        Area in pixels up to which holes are filled.
    brush_size : float or None
        Of new annotation layers, in pixels; None follows from the size of the image.
    folder : str
        Last used in a file dialog.
    batch_probability, batch_measurements : bool
        What is written beside the labels when a folder is predicted.
    collapsed : tuple of str
        Names of the boxes of the panel that are closed.
    """

    network: str | None = None
    preview: bool = True
    scope: Scope = "this image"
    min_size: Area | None = None
    max_hole: Area = 0
    brush_size: Annotated[float, Field(gt=0, lt=10_000)] | None = None
    folder: Annotated[str, Field(pattern=r"^[^\x00]*$")] = ""
    batch_probability: bool = False
    batch_measurements: bool = False
    collapsed: tuple[str, ...] = ("Options",)


def preferences_file() -> Path:
    """Where they are kept: beside the user's models."""
    return user_home() / "preferences.json"


def read_preferences() -> tuple[Preferences, str]:
    """Read what was kept; never raises.

    Returns
    -------
    preferences : Preferences
        Defaults for what is missing or cannot be used; unknown keys are ignored.
    trouble : str
        One line for the user where the file could not be used as it is, else empty. A file that is damaged or
        not ours is set aside under another name, so that nothing of it is lost.
    """
    path = preferences_file()
    try:
        if not path.exists():
            return Preferences(), ""
        if path.stat().st_size > _LARGEST:
            return Preferences(), _set_aside(path, "is too large to be ours")
        content = path.read_bytes()
    except OSError as error:
        told = error.strerror or error
        return Preferences(), f"Your settings in '{path}' cannot be read ({told}); the usual ones are used."
    try:
        kept = parse_json(content)
    except InvalidError:
        return Preferences(), _set_aside(path, "is damaged")
    if not isinstance(kept, dict) or kept.get("file") != _OF_US:
        return Preferences(), _set_aside(path, "was not written by napari-fewshot-cells")
    if type(kept.get("format")) is not int or kept["format"] > FORMAT:
        return Preferences(), _set_aside(path, "is from a newer version of napari-fewshot-cells")
    return _checked(kept, path)


def write_preferences(preferences: Preferences) -> None:
    """Keep them, as a whole or not at all.

    Raises
    ------
    DataError
        The folder cannot be written or the disk is full; the file of before stays.
    """
    path = preferences_file()
    content = {"file": _OF_US, "format": FORMAT, **asdict(preferences)}
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    except DataError as error:
        raise DataError(f"Your settings are not kept: {error}") from error


def _set_aside(path: Path, why: str) -> str:
    aside = _unused(path.with_name(f"{path.stem} set aside{path.suffix}"))
    try:
        os.replace(path, aside)
    except OSError as error:
        told = error.strerror or error
        return f"'{path}' {why} and cannot be set aside ({told}); the usual settings are used."
    return f"'{path.name}' {why}: it was set aside as '{aside}', and the usual settings are used."


def _unused(path: Path) -> Path:
    number, free = 2, path
    while free.exists():
        free = path.with_name(f"{path.stem} {number}{path.suffix}")
        number += 1
    return free


def _checked(kept: Mapping[str, Any], path: Path) -> tuple[Preferences, str]:
    try:
        return validated(Preferences, kept), ""
    except InvalidError as error:
        bad = sorted({str(fault.place[0]) for fault in error.faults})
    told = f"'{path}' holds what cannot be: {', '.join(bad)}; the usual is used instead."
    return validated(Preferences, {name: kept[name] for name in kept if name not in bad}), told
