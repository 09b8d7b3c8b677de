"""The files of a batch: which of a folder are images, and how each kind of file becomes a plane.

TIFF, OME-TIFF, PNG and JPEG are read as everywhere else, OME-Zarr by zarr (the extra ``zarr``), the formats
of microscopes by bioio, where a person has installed it with the reader for the format.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import DataError, ImageError
from .plane import IMAGE_SUFFIXES, Plane, read_plane, to_plane

ZARR_SUFFIX = ".zarr"
MICROSCOPE_SUFFIXES = (".czi", ".dv", ".ims", ".lif", ".nd2", ".oib", ".oif", ".vsi")
"""Of files that bioio has readers for."""


def list_images(path: Path) -> list[Path]:
    """The images that a path names: itself, or those in a folder, sorted by name; sub-folders are left out.

    Files that cannot be read here for lack of a package are among them, so that it is told.

    Raises
    ------
    DataError
        Nothing there, or a folder without images.
    """
    if path.is_file() or (path.is_dir() and _is_zarr(path)):
        return [path]
    if not path.is_dir():
        raise DataError(f"There is no file or folder '{path}'.")
    suffixes = (*IMAGE_SUFFIXES, *MICROSCOPE_SUFFIXES)
    found = [
        item
        for item in path.iterdir()
        if not item.name.startswith(".")
        and (_is_zarr(item) if item.is_dir() else item.suffix.lower() in suffixes)
    ]
    if not found:
        raise DataError(f"The folder '{path}' holds no image ({', '.join((*IMAGE_SUFFIXES, ZARR_SUFFIX))}).")
    return sorted(found)


def stem_of(path: Path) -> str:
    """What an image's results are called: its name without suffix, that of OME-Zarr without both."""
    return path.stem.removesuffix(".ome") if _is_zarr(path) else path.stem


def read_any_plane(path: Path) -> Plane:
    """Read an image of any kind as a grey plane.

    Raises
    ------
    ImageError
        It cannot be read, needs a package that is not there, or is no usable plane (see `images.to_plane`).
    """
    if _is_zarr(path):
        return to_plane(_read(path, _zarr_pixels, "zarr", "'napari-fewshot-cells[zarr]'"), path.name)
    if path.suffix.lower() in MICROSCOPE_SUFFIXES:
        packages = f"bioio and its reader for {path.suffix.lower()} files"
        return to_plane(_read(path, _bioio_pixels, "bioio", packages), path.name, rgb=False)
    return read_plane(path)


def _is_zarr(path: Path) -> bool:
    return path.suffix.lower() == ZARR_SUFFIX


def _read(path: Path, reader: Any, package: str, install: str) -> NDArray[np.generic]:
    """Pixels without axes of length 1; what keeps them from being read is told."""
    if find_spec(package) is None:
        raise ImageError(f"'{path.name}' cannot be read without {package}: pip install {install}.")
    try:
        pixels: NDArray[np.generic] = reader(path)
    except ImageError:
        raise
    except Exception as error:
        # In damaged files the readers come upon anything, as in `images.read_pixels`
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"'{path.name}' cannot be read as an image ({reason}).") from error
    return pixels


def _zarr_pixels(path: Path) -> NDArray[np.generic]:
    """The full resolution of an OME-Zarr image, version 0.4 or 0.5."""
    import zarr

    group = zarr.open_group(str(path), mode="r")
    attributes: Any = dict(group.attrs)
    scales = attributes.get("ome", attributes).get("multiscales")
    if not scales:
        raise ImageError(f"'{path.name}' is no OME-Zarr image: it says nothing of 'multiscales'.")
    array: Any = group[scales[0]["datasets"][0]["path"]]
    return _squeezed(array, path)


def _bioio_pixels(path: Path) -> NDArray[np.generic]:
    import bioio

    return _squeezed(bioio.BioImage(path).dask_data, path)


def _squeezed(array: Any, path: Path) -> NDArray[np.generic]:
    # looked at before it is read: a stack may be larger than the memory
    longer = [size for size in array.shape if size != 1]
    if len(longer) > 2:
        raise ImageError(
            f"'{path.name}' has {len(longer)} dimensions {tuple(longer)}; "
            "one 2-D plane is needed: split the file."
        )
    return np.squeeze(np.asarray(array[:]))
