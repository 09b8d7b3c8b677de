"""Painted labels in files: one compressed TIFF for a picture, or a folder with one TIFF per plane of a stack.

Only changed planes are written, each as a whole or not at all.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.atomic_files import tiff_bytes, write_together, writing
from ..base.errors import ProjectError

_PLANE = re.compile(r"[\d-]+")

FAST_LEVEL, SMALL_LEVEL = 1, 6
"""Compression levels: fast for recovery copies, which are written every few seconds; small for projects."""


@dataclass(frozen=True)
class WrittenLabels:
    """What is on disk of one labels array.

    Attributes
    ----------
    planes : tuple of str
        Names of the planes of a stack that have a file; empty for a picture.
    checksums : mapping of str to int
        CRC-32 of each plane on disk, by its name; the only plane of a picture has the name "".
    painted : bool
        Whether any pixel is labelled.
    """

    planes: tuple[str, ...]
    checksums: Mapping[str, int]
    painted: bool


def is_stack(shape: tuple[int, ...]) -> bool:
    """Whether labels of this shape are written plane by plane."""
    return len(shape) > 2


def planes_in(shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int | slice, ...]]]:
    """Name and index of each plane along the last two axes that are longer than 1."""
    longer = [axis for axis, size in enumerate(shape) if size > 1]
    sides = (longer if len(longer) > 1 else list(range(len(shape))))[-2:]
    fixed = [axis for axis in range(len(shape)) if axis not in sides]
    for numbers in np.ndindex(*(shape[axis] for axis in fixed)):
        index: list[int | slice] = [slice(None)] * len(shape)
        for axis, number in zip(fixed, numbers, strict=True):
            index[axis] = number
        yield "-".join(f"{number:04d}" for number in numbers), tuple(index)


def write_labels(
    place: Path, labels: Any, known: Mapping[str, int] | None = None, *, level: int = FAST_LEVEL
) -> WrittenLabels:
    """Write those planes of a labels array that differ from the planes on disk.

    Another thread may paint on the array meanwhile. Each plane is copied before it is written, so that later
    paint is written by the next call.

    Parameters
    ----------
    place : Path
        A file that ends in ``.tif`` for a picture, a folder for a stack.
    labels : array_like of int, (H, W) or (..., H, W)
    known : mapping, optional
        Checksums of the planes on disk, from the previous call.
    level : int
        Compression level, 1 to 9.

    Raises
    ------
    DataError
        The disk is full or the folder cannot be written. No half-written file stays.
    """
    shape = tuple(labels.shape)
    checksums = dict(known or {})
    painted = False
    folder = place if is_stack(shape) else place.parent
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if is_stack(shape):
        checksums = _on_disk(folder, shape, checksums)
    for name, index in planes_in(shape):
        live = np.asarray(labels[index])
        touched = bool(live.any())
        painted |= touched
        if is_stack(shape) and not touched and name not in checksums:
            continue
        plane = np.array(live, order="C")
        checksum = zlib.crc32(plane.data)
        if checksums.get(name) != checksum:
            file = folder / f"{name}.tif" if is_stack(shape) else place
            write_together({file: tiff_bytes(plane, level=level)})
            checksums[name] = checksum
    planes = tuple(sorted(checksums)) if is_stack(shape) else ()
    return WrittenLabels(planes, checksums, painted)


def _on_disk(folder: Path, shape: tuple[int, ...], known: Mapping[str, int]) -> dict[str, int]:
    """Checksums of the planes of a stack that have a file; −1 if unknown, which no CRC-32 equals.

    The −1 makes an empty plane overwrite an old file of unknown content. Files of planes that the stack does
    not have are removed.
    """
    names = {name for name, _ in planes_in(shape)}
    found = {file.stem for file in folder.glob("*.tif") if _PLANE.fullmatch(file.stem)}
    for name in found - names:
        (folder / f"{name}.tif").unlink(missing_ok=True)
    return {name: known.get(name, -1) for name in found & names}


def read_labels(
    place: Path, shape: tuple[int, ...], dtype: str, planes: tuple[str, ...] = ()
) -> tuple[NDArray[Any], list[str]]:
    """Read labels that `write_labels` wrote.

    Parameters
    ----------
    place : Path
    shape, dtype
        Shape and dtype of the labels.
    planes : tuple of str
        Names of the planes of a stack that must exist. Other planes with a file are read too; they are newer.

    Returns
    -------
    ndarray
        Labels; planes that cannot be read are 0.
    list of str
        One line for each plane that cannot be read.

    Raises
    ------
    ProjectError
        The file of a picture cannot be read, or shape or dtype cannot be those of labels.
    """
    try:
        labels = np.zeros(shape, np.dtype(dtype))
        if labels.dtype.kind not in "iu":
            raise TypeError(f"{dtype} cannot be labels")
    except (TypeError, ValueError, MemoryError) as error:
        raise ProjectError(f"'{place.name}' cannot be an annotation: {error}.") from error
    if not is_stack(shape):
        labels[...] = _read(place, shape, labels.dtype)
        return labels, []
    found = {file.stem for file in place.glob("*.tif") if not file.name.startswith(".")}
    wanted, problems = set(planes) | found, []
    for name, index in planes_in(shape):
        if name in wanted:
            wanted.discard(name)
            try:
                labels[index] = _read(place / f"{name}.tif", labels[index].shape, labels.dtype)
            except ProjectError as error:
                problems.append(str(error))
    ignored = [f"{place.name}/{name}.tif" for name in sorted(wanted)]
    problems += [f"'{file}' is not a plane of the annotation; it is ignored." for file in ignored]
    return labels, problems


def _read(file: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    import tifffile

    name = f"{file.parent.name}/{file.name}"
    if not file.is_file():
        raise ProjectError(f"The annotation '{name}' is missing.")
    try:
        plane: NDArray[Any] = tifffile.imread(file)
    except Exception as error:  # on damaged files the decoder raises all kinds of errors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ProjectError(f"The annotation '{name}' is damaged ({reason}).") from error
    if plane.dtype.kind not in "iu" or not np.can_cast(plane.dtype, dtype):
        raise ProjectError(f"The annotation '{name}' holds {plane.dtype} values, not {dtype}.")
    if plane.size != int(np.prod(shape)) or plane.squeeze().shape != tuple(n for n in shape if n != 1):
        raise ProjectError(f"The annotation '{name}' has shape {plane.shape}, not {shape}.")
    return plane.reshape(shape)
