"""Image files: find the images in a folder, pair images with masks, and read planes and labels.

The list of readers decides which files are images and how they are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..base.errors import DataError, ImageError
from .plane import Labels, Plane, stack_error, to_plane
from .readers import Contents, known_suffixes, reader_of, stem_of


def list_images(path: Path) -> list[Path]:
    """The images that a path names: the file itself, or the images in a folder, sorted by name.

    Sub-folders are not searched. The list includes images whose reader needs a package that is not installed;
    reading such an image raises an error that names the package.

    Raises
    ------
    DataError
        The path does not exist, or is a folder without images.
    """
    if _is_one_file(path):
        return [path]
    if not path.is_dir():
        raise DataError(f"There is no file or folder '{path}'.")
    found = images_in(path)
    if not found:
        raise DataError(f"The folder '{path}' holds no image ({', '.join(known_suffixes())}).")
    return found


def images_in(folder: Path) -> list[Path]:
    """The images in a folder, sorted by name; the list may be empty. Hidden files do not count."""
    return sorted(
        item
        for item in folder.iterdir()
        if not item.name.startswith(".") and reader_of(item) is not None and _is_one_file(item)
    )


def _is_one_file(path: Path) -> bool:
    """Whether the path is a file, or a folder that is one image."""
    reader = reader_of(path)
    return path.is_file() or (reader is not None and reader.is_folder and path.is_dir())


def pair_by_stem(first: Path, second: Path) -> list[tuple[Path, Path]]:
    """Pair the files of two folders by their names without suffix; two single files always pair.

    Every file of `second` needs a partner. Files of `first` need none: they may be images without annotation.

    Raises
    ------
    DataError
        A path is missing, a file of `second` has no partner, or two files have the same stem.
    """
    if _is_one_file(first) and _is_one_file(second):
        return [(first, second)]
    left, right = _by_stem(first), _by_stem(second)
    lonely = sorted(set(right) - set(left))
    if lonely:
        more = f" (and {len(lonely) - 1} more)" if len(lonely) > 1 else ""
        raise DataError(
            f"'{right[lonely[0]].name}' in '{second}' has no file of the same name in '{first}'{more}; "
            "add or rename it."
        )
    return [(left[stem], right[stem]) for stem in sorted(right)]


def _by_stem(path: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in list_images(path):
        stem = stem_of(file)
        if stem in files:
            raise DataError(
                f"'{files[stem].name}' and '{file.name}' in '{path}' have the same stem; rename one of them."
            )
        files[stem] = file
    return files


# --- reading


def read_plane(path: Path, name: str | None = None) -> Plane:
    """Read an image as a grey plane.

    Parameters
    ----------
    path : Path
    name : str, optional
        What error messages call it; by default as the file.

    Raises
    ------
    ImageError
        The file cannot be read, needs a package that is not installed, or holds no usable plane (see
        `to_plane`).
    """
    name = name or path.name
    contents = _open(path)
    longer = tuple(size for size in contents.values.shape if size != 1)
    if not isinstance(contents.values, np.ndarray) and len(longer) > 2:
        raise stack_error(longer, name)  # before reading: the stack may exceed the memory
    return to_plane(_colour_last(_in_memory(contents, path).values), name)


def read_pixels(path: Path) -> NDArray[np.generic]:
    """Read an image of any number of dimensions.

    Three or four planes count as colours; their axis is moved to the end.

    Raises
    ------
    ImageError
        See `read_contents`.
    """
    return _colour_last(read_contents(path).values)


def read_contents(path: Path) -> Contents:
    """Read an image with the names of its axes and channels.

    Returns
    -------
    Contents
        The values are a NumPy array in memory; dtype and order of the axes are those of the file.

    Raises
    ------
    ImageError
        The file is missing, damaged, empty, of an unknown format, or larger than the free memory, or its
        reader needs a package that is not installed.
    """
    return _in_memory(_open(path), path)


def _open(path: Path) -> Contents:
    """Contents of a file; the pixels may not be read yet."""
    reader = reader_of(path)
    if not _is_one_file(path):
        raise ImageError(f"There is no file '{path}'.")
    if reader is None:
        raise ImageError(
            f"'{path.name}' cannot be read as an image: its name must end in {', '.join(known_suffixes())}."
        )
    if reader.package is not None and find_spec(reader.package) is None:
        raise ImageError(
            f"'{path.name}' cannot be read without {reader.package}: pip install {reader.install}."
        )
    with _reading(path):
        return reader.read(path)


def _in_memory(contents: Contents, path: Path) -> Contents:
    with _reading(path):
        if not isinstance(contents.values, np.ndarray):
            _check_memory(contents, path)
        values = np.asarray(contents.values)
        if values.size == 0:
            raise ValueError("it holds no pixels")
    single = [n for n, axis in enumerate(contents.axes) if values.shape[n] == 1 and axis not in "YX"]
    axes = "".join(axis for n, axis in enumerate(contents.axes) if n not in single)
    return replace(contents, values=np.squeeze(values, tuple(single)), axes=axes)


def _check_memory(contents: Contents, path: Path) -> None:
    import psutil

    size = contents.values.dtype.itemsize * int(np.prod(contents.values.shape, dtype=object))
    free = psutil.virtual_memory().available
    if size > free:
        raise ImageError(
            f"'{path.name}' needs {size / 2**30:.1f} GiB of memory, but {free / 2**30:.1f} GiB are free; "
            "split the file."
        )


def _colour_last(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Treat three or four planes as colours, as `skimage.io.imread` does, and move their axis to the end."""
    if values.ndim > 2 and values.shape[-1] not in (3, 4) and values.shape[-3] in (3, 4):
        return np.moveaxis(values, -3, -1)
    return values


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever a reader raises into an `ImageError`.

    On damaged files, decoders raise all kinds of errors: zlib.error, struct.error, MemoryError, …
    """
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"'{path.name}' cannot be read as an image ({reason}).") from error


# --- labels


def read_labels(path: Path, name: str | None = None) -> Labels:
    """Read a mask, annotation or label file.

    Parameters
    ----------
    path : Path
    name : str, optional
        What error messages call it; by default as the file.

    Returns
    -------
    ndarray, int32, (H, W)

    Raises
    ------
    ImageError
        The file cannot be read, or does not hold labels (see `to_labels`).
    """
    return to_labels(read_pixels(path), name or path.name)


def to_labels(array: object, name: str) -> Labels:
    """Convert an array of any dtype to labels; grey masks saved as RGB or RGBA are accepted.

    Returns
    -------
    ndarray, int32, (H, W)

    Raises
    ------
    ImageError
        The array is in colour or not 2-D, or holds values other than whole numbers from 0 to 2³¹ − 1.
    """
    values = np.squeeze(np.asarray(array))
    if values.ndim == 3 and values.shape[-1] in (3, 4):
        if np.ptp(values[..., :3].astype(np.float64), axis=-1).max() > 0:
            raise ImageError(
                f"'{name}' is in colour (shape {values.shape}); "
                "labels must be one 2-D plane of whole numbers."
            )
        values = values[..., 0]
    if values.ndim != 2:
        raise ImageError(f"'{name}' has shape {values.shape}; labels must be one 2-D plane.")
    if values.dtype.kind not in "bui" and not np.array_equal(values, np.round(values)):
        raise ImageError(f"'{name}' holds values that are not whole numbers; labels must be integers.")
    if values.min() < 0 or values.max() > np.iinfo(np.int32).max:
        raise ImageError(f"'{name}' holds values below 0 or above 2³¹ − 1; labels must lie between them.")
    return values.astype(np.int32)
