"""An image file as a layer: its pixels and what the layer is made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ...base.errors import ImageError
from .metadata import CHANNEL_NAMES, FILE, METADATA

_TIFF = (".tif", ".tiff")

_MOST_VALUES = 1_000_000  # for contrast limits


def read_layer(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The array of a file and options for its layer: axes by name where the file tells them.

    Raises
    ------
    ImageError
        It cannot be read.
    """
    from ...data.image_files import read_pixels

    noted = {METADATA: {FILE: str(path.absolute())}}
    options: dict[str, Any] = {"name": path.stem, "metadata": noted}
    if path.suffix.lower() in _TIFF:
        values, axes, names = _read_tiff(path)
    else:
        values = read_pixels(path)
        axes, names = ("YXS" if values.ndim == 3 else "YX"), []
    options["rgb"] = axes.endswith("S") and values.shape[-1] in (3, 4)
    axes = axes.removesuffix("S") if options["rgb"] else axes.replace("S", "C")
    if len(set(axes)) == len(axes) and {"Y", "X"} <= set(axes) <= set("TZCYX"):
        options["axis_labels"] = tuple(axes.lower())
    if names:
        options["metadata"] = {CHANNEL_NAMES: names, **noted}
    if not options["rgb"]:  # else napari looks at all values, and the window waits
        some = values.ravel()[:: max(1, values.size // _MOST_VALUES)].astype(np.float64)
        some = some[np.isfinite(some)]
        if some.size and some.min() < some.max():
            options["contrast_limits"] = (float(some.min()), float(some.max()))
    return values, options


def _read_tiff(path: Path) -> tuple[np.ndarray, str, list[str]]:
    import tifffile

    if not path.is_file():
        raise ImageError(f"There is no file '{path}'.")
    try:
        with tifffile.TiffFile(path) as file:
            series, ome = file.series[0], file.ome_metadata
            values, axes = series.asarray(), series.axes
        found = [] if ome is None else ElementTree.fromstring(ome).iterfind(".//{*}Image[1]//{*}Channel")
        names = [str(channel.get("Name") or channel.get("ID")) for channel in found]
    except Exception as error:  # in damaged files the decoder comes upon anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"'{path.name}' cannot be read as an image ({reason}).") from error
    if values.size == 0 or values.ndim < 2:
        raise ImageError(f"'{path.name}' holds no image.")
    return values, axes, names
