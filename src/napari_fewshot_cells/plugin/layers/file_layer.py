"""An image file as a layer: its pixels and what the layer is made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import ImageError
from .metadata import CHANNEL_NAMES, FILE, METADATA

_MOST_VALUES = 1_000_000  # for contrast limits


def read_layer(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The array of a file and options for its layer: axes by name if the file names them.

    Raises
    ------
    ImageError
        It cannot be read.
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
    if not options["rgb"]:  # else napari looks at all values, and the window waits
        some = values.ravel()[:: max(1, values.size // _MOST_VALUES)].astype(np.float64)
        some = some[np.isfinite(some)]
        if some.size and some.min() < some.max():
            options["contrast_limits"] = (float(some.min()), float(some.max()))
    return values, options


def _usual_axes(shape: tuple[int, ...]) -> str:
    """If the file does not name them; the first axes of a stack may be anything."""
    if len(shape) == 2:
        return "YX"
    return "YXS" if len(shape) == 3 and shape[-1] in (3, 4) else ""
