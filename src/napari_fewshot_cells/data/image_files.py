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
from skimage import io

from ..base.errors import DataError, ImageError
from .plane import Labels, Plane, to_plane

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
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


def read_plane(path: Path) -> Plane:
    """Read one image file as a grey plane.

    Raises
    ------
    ImageError
        The file cannot be read, or holds no usable plane (see `to_plane`).
    """
    return to_plane(read_pixels(path), path.name)


def read_labels(path: Path) -> Labels:
    """Read a mask, annotation or label file.

    Returns
    -------
    ndarray, int32, (H, W)

    Raises
    ------
    ImageError
        The file cannot be read, or holds no labels (see `to_labels`).
    """
    return to_labels(read_pixels(path), path.name)


def to_labels(array: object, name: str) -> Labels:
    """Make labels of an array of any dtype; a grey mask saved as colour is one too.

    Returns
    -------
    ndarray, int32, (H, W)

    Raises
    ------
    ImageError
        In colour, not 2-D, or with values that are no whole numbers ≥ 0.
    """
    values = np.squeeze(np.asarray(array))
    if values.ndim == 3 and values.shape[-1] in (3, 4):
        if np.ptp(values[..., :3].astype(np.float64), axis=-1).max() > 0:
            raise ImageError(
                f"'{name}' has shape {values.shape}, it is in colour; "
                "labels must be one 2-D plane of whole numbers, 0 where nothing is."
            )
        values = values[..., 0]
    if values.ndim != 2:
        raise ImageError(f"'{name}' has shape {values.shape}; labels must be one 2-D plane.")
    if values.dtype.kind not in "bui" and not np.array_equal(values, np.round(values)):
        raise ImageError(f"'{name}' holds values that are no whole numbers; labels must be integers.")
    if values.min() < 0 or values.max() > np.iinfo(np.int32).max:
        raise ImageError(f"'{name}' holds values below 0 or above 2³¹ − 1; labels must be in between.")
    return values.astype(np.int32)


def image_files(path: Path) -> list[Path]:
    """The image files that a path names: itself, or those in a folder, sorted by name.

    Raises
    ------
    DataError
        Nothing there, or a folder without images.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"There is no file or folder '{path}'.")
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file())
    if not files:
        raise DataError(f"The folder '{path}' holds no image ({', '.join(IMAGE_SUFFIXES)}).")
    return files


def pair_by_stem(first: Path, second: Path) -> list[tuple[Path, Path]]:
    """Pair files of two folders by their names without suffix; two single files always pair.

    Every file of `second` must find its partner; files of `first` may stay alone (images that nobody
    annotated).

    Raises
    ------
    DataError
        A missing path, a file in `second` without partner, or two files of one stem.
    """
    if first.is_file() and second.is_file():
        return [(first, second)]
    left, right = _by_stem(first), _by_stem(second)
    lonely = sorted(set(right) - set(left))
    if lonely:
        more = f" (and {len(lonely) - 1} more)" if len(lonely) > 1 else ""
        raise DataError(f"'{right[lonely[0]].name}' in '{second}' has no partner in '{first}'{more}.")
    return [(left[stem], right[stem]) for stem in sorted(right)]


def _by_stem(path: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in image_files(path):
        if file.stem in files:
            raise DataError(f"'{files[file.stem].name}' and '{file.name}' in '{path}' have the same stem.")
        files[file.stem] = file
    return files


def read_pixels(path: Path) -> NDArray[np.generic]:
    """Read an image file as it is.

    Raises
    ------
    ImageError
        It is not there, damaged, of a format that is not known, or empty.
    """
    if not path.is_file():
        raise ImageError(f"There is no file '{path}'.")
    try:
        values = np.asarray(io.imread(path))
        if values.size == 0:
            raise ValueError("it holds no pixels")
        return values
    except Exception as error:
        # In damaged files the decoders come upon anything: zlib.error, struct.error, MemoryError, …
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"'{path.name}' cannot be read as an image ({reason}).") from error
