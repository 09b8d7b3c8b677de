"""Image files: which of a folder are images, what their results are called, and how a file becomes a plane.

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
    """The images that a path names: itself, or those in a folder, sorted by name; sub-folders are left out.

    Files that cannot be read here because a package is missing are among them, so that reading them says so.

    Raises
    ------
    DataError
        Nothing there, or a folder without images.
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
    """The images in a folder, sorted by name; perhaps none. Hidden files are no images."""
    return sorted(
        item
        for item in folder.iterdir()
        if not item.name.startswith(".") and reader_of(item) is not None and _is_one_file(item)
    )


def _is_one_file(path: Path) -> bool:
    """Whether there is a file, or a folder that is an image."""
    reader = reader_of(path)
    return path.is_file() or (reader is not None and reader.is_folder and path.is_dir())


def pair_by_stem(first: Path, second: Path) -> list[tuple[Path, Path]]:
    """Pair files of two folders by their names without suffix; two single files always pair.

    Every file of `second` must find its partner; files of `first` may stay alone (images that nobody
    annotated).

    Raises
    ------
    DataError
        A missing path, a file in `second` without partner, or two files of one stem.
    """
    if _is_one_file(first) and _is_one_file(second):
        return [(first, second)]
    left, right = _by_stem(first), _by_stem(second)
    lonely = sorted(set(right) - set(left))
    if lonely:
        more = f" (and {len(lonely) - 1} more)" if len(lonely) > 1 else ""
        raise DataError(f"'{right[lonely[0]].name}' in '{second}' has no partner in '{first}'{more}.")
    return [(left[stem], right[stem]) for stem in sorted(right)]


def _by_stem(path: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in list_images(path):
        stem = stem_of(file)
        if stem in files:
            raise DataError(f"'{files[stem].name}' and '{file.name}' in '{path}' have the same stem.")
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
        It cannot be read, needs a package that is not there, or is no usable plane (see `to_plane`).
    """
    name = name or path.name
    contents = _open(path)
    longer = tuple(size for size in contents.values.shape if size != 1)
    if not isinstance(contents.values, np.ndarray) and len(longer) > 2:
        raise stack_error(longer, name)  # before it is read: it may be larger than the memory
    return to_plane(_colour_last(_in_memory(contents, path).values), name)


def read_pixels(path: Path) -> NDArray[np.generic]:
    """Read an image of any number of dimensions; three or four planes are taken for colours, and come last.

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
        Its values are an array in memory, as the file has it.

    Raises
    ------
    ImageError
        It is not there, damaged, of a format that is not known, empty, or larger than the memory, or it needs
        a package that is not installed.
    """
    return _in_memory(_open(path), path)


def _open(path: Path) -> Contents:
    """The contents of a file. Some readers read no more than the shape."""
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
            f"'{path.name}' takes {size / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are free; "
            "split the file."
        )


def _colour_last(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Take three or four planes for colours, as `skimage.io.imread` does, and put them last."""
    if values.ndim > 2 and values.shape[-1] not in (3, 4) and values.shape[-3] in (3, 4):
        return np.moveaxis(values, -3, -1)
    return values


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Make an `ImageError` of what a reader raises.

    On damaged files decoders raise anything: zlib.error, struct.error, MemoryError, …
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
        The file cannot be read, or holds no labels (see `to_labels`).
    """
    return to_labels(read_pixels(path), name or path.name)


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
