"""The user's preferences, kept between starts in one small readable file.

Only habits are kept. Values that follow from an image or its annotation (cell diameter, threshold, current
model) are not: on the next image they would be wrong, and nobody would see why.
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
_FILE_KIND = "napari-fewshot-cells preferences"
_LARGEST = 1_000_000  # bytes; a regular file has a few hundred

Area = Annotated[int, Field(ge=0, lt=2**31)]
"""Area in pixels."""


Scope = Literal["this image", "all planes", "all images"]
"""What *Predict* works on."""


@dataclass(frozen=True)
class Preferences:
    """Choices that outlive a session.

    Attributes
    ----------
    network : str or None
        Name of the model from which fine-tuning starts; None means the first of the library.
    preview : bool
        Whether to show previews while the model is fine-tuned.
    scope : {"this image", "all planes", "all images"}
        What *Predict* predicts.
    min_size : int or None
        Area in pixels below which objects are dropped; None derives it from the diameter of a typical cell.
    max_hole : int
        Area in pixels up to which holes are filled.
    brush_size : float or None
        Brush size of new annotation layers in pixels; None derives it from the size of the image.
    folder : str
        Folder last used in a file dialog.
    batch_probability, batch_measurements : bool
        Whether batch prediction writes probabilities and measurements beside the labels.
    collapsed : tuple of str
        Names of the panel's collapsed boxes.
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
    """Path of the preferences file, beside the user's models."""
    return user_home() / "preferences.json"


def read_preferences() -> tuple[Preferences, str]:
    """Read the preferences; never raises.

    Returns
    -------
    preferences : Preferences
        Missing and invalid values are replaced by defaults; unknown keys are ignored.
    trouble : str
        One line for the user if the file could not be used as it is, else empty. A damaged or foreign file is
        renamed, so that its content is not lost.
    """
    path = preferences_file()
    try:
        if not path.exists():
            return Preferences(), ""
        if path.stat().st_size > _LARGEST:
            return Preferences(), _set_aside(path, "is too large for a settings file")
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        return Preferences(), f"Your settings in '{path}' cannot be read ({reason}); the defaults are used."
    try:
        kept = parse_json(content)
    except InvalidError:
        return Preferences(), _set_aside(path, "is damaged")
    if not isinstance(kept, dict) or kept.get("file") != _FILE_KIND:
        return Preferences(), _set_aside(path, "was not written by napari-fewshot-cells")
    if type(kept.get("format")) is not int or kept["format"] > FORMAT:
        return Preferences(), _set_aside(path, "is from a newer version of napari-fewshot-cells")
    return _checked(kept, path)


def write_preferences(preferences: Preferences) -> None:
    """Write the preferences as a whole or not at all.

    Raises
    ------
    DataError
        The folder cannot be written or the disk is full. The previous file stays.
    """
    path = preferences_file()
    content = {"file": _FILE_KIND, "format": FORMAT, **asdict(preferences)}
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    except DataError as error:
        raise DataError(f"Your settings were not saved: {error}") from error


def _set_aside(path: Path, why: str) -> str:
    aside = _unused(path.with_name(f"{path.stem} set aside{path.suffix}"))
    try:
        os.replace(path, aside)
    except OSError as error:
        reason = error.strerror or error
        return f"'{path}' {why} and cannot be set aside ({reason}); the default settings are used."
    return f"'{path.name}' {why}: it was set aside as '{aside}', and the default settings are used."


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
    trouble = f"'{path}' holds invalid values: {', '.join(bad)}; their defaults are used."
    return validated(Preferences, {name: kept[name] for name in kept if name not in bad}), trouble
