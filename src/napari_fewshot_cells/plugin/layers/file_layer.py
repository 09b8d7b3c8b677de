"""Reads an image file for a layer: its pixels and the options of the layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import ImageError
from .metadata import CHANNEL_NAMES, FILE, METADATA

_MOST_VALUES = 1_000_000  # for contrast limits


def read_layer(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a file's array and options for its layer. Axes get names if the file names them.

    Raises
    ------
    ImageError
        The file cannot be read.
    """
    from ...data.image_files import read_contents
    from ...data.readers import stem_of

    contents = read_contents(path)
    values = contents.values
    if values.ndim < 2:
        raise ImageError(f"'{path.name}' holds no image.")
    axes = contents.axes or _usual_axes(values.shape)
    noted = {METADATA: {FILE: str(path.absolute())}}
    options: dict[str, Any] = {"name": stem_of(path), "metadata": noted}
    options["rgb"] = axes.endswith("S") and values.shape[-1] in (3, 4)
    axes = axes.removesuffix("S") if options["rgb"] else axes.replace("S", "C")
    if len(set(axes)) == len(axes) and {"Y", "X"} <= set(axes) <= set("TZCYX"):
        options["axis_labels"] = tuple(axes.lower())
    if contents.channels:
        options["metadata"] = {CHANNEL_NAMES: list(contents.channels), **noted}
    if not options["rgb"]:  # otherwise napari scans all values, which blocks the GUI
        some = values.ravel()[:: max(1, values.size // _MOST_VALUES)].astype(np.float64)
        some = some[np.isfinite(some)]
        if some.size and some.min() < some.max():
            options["contrast_limits"] = (float(some.min()), float(some.max()))
    return values, options


def _usual_axes(shape: tuple[int, ...]) -> str:
    """The axes of a file that does not name them; '' for a stack, whose first axes may be anything."""
    if len(shape) == 2:
        return "YX"
    return "YXS" if len(shape) == 3 and shape[-1] in (3, 4) else ""
