"""Convert published archives to ``images/NAME.png`` and ``masks/NAME.png``.

Archives are read member by member and never extracted, so that no name inside an archive becomes a path.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import label

from ..base.errors import DataError

MOST_UNPACKED = 12 * 2**30  # bytes; the largest published archive (BBBC005's images) unpacks to about 7 GiB
MOST_OF_A_MEMBER = 256 * 2**20  # bytes; the largest published member has a few MB
SAFE_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

Pixels = NDArray[Any]
Pairs = Iterator[tuple[str, Pixels, Pixels]]
"""Stem, image and mask."""


def open_archive(path: Path, most: int = MOST_UNPACKED) -> zipfile.ZipFile:
    """Open a zip archive, and refuse contents that a published one never has.

    Raises
    ------
    DataError
        The file is not a zip archive, or has members that are absolute paths, contain ``..``, are links or
        are encrypted. Or it unpacks to more than `most` bytes, or one member to more than 256 MiB.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"'{path.name}' is not a readable zip archive; delete it and fetch again.") from error
    fault = _fault(archive.infolist(), most)
    if fault:
        archive.close()
        raise DataError(f"The archive '{path.name}' was refused: {fault}.")
    return archive


def _fault(members: list[zipfile.ZipInfo], most: int) -> str | None:
    for member in members:
        name = member.filename
        if PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or name.startswith("\\"):
            return f"'{name}' is an absolute path"
        if ".." in re.split(r"[/\\]", name):
            return f"'{name}' leaves its folder"
        if stat.S_ISLNK(member.external_attr >> 16):
            return f"'{name}' is a link"
        if member.flag_bits & 0x1:
            return f"'{name}' is encrypted"
        # zipfile stops reading at the declared size, so a forged header cannot unpack more.
        if member.file_size > MOST_OF_A_MEMBER:
            return f"'{name}' unpacks to {member.file_size} bytes"
    total = sum(member.file_size for member in members)
    return f"it unpacks to {total} bytes" if total > most else None


def write_pairs(name: str, pairs: Pairs, folder: Path) -> int:
    """Write a set's images and masks as PNG below `folder`.

    Parameters
    ----------
    name
        Name of the source set, for messages.
    pairs
        Stem, image and mask, as a set's `unpack` yields them: uint8 (H, W), uint8 (H, W, 3) or uint16 (H, W),
        and uint8 or uint16 (H, W).
    folder
        Folder in which ``images`` and ``masks`` are created.

    Returns
    -------
    Number of pairs written.

    Raises
    ------
    DataError
        An archive is damaged, unsafe, or holds no pair.
    """
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    count = 0
    for stem, image, mask in pairs:
        if not SAFE_STEM.fullmatch(stem):
            raise DataError(f"The set {name} holds a file with the unusable name '{stem}'.")
        if image.shape[:2] != mask.shape:
            raise DataError(f"In the set {name} the mask of '{stem}' has another size than its image.")
        Image.fromarray(image).save(folder / "images" / f"{stem}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{stem}.png")
        count += 1
    if count == 0:
        raise DataError(f"The downloads of the set {name} hold no images in the expected layout.")
    return count


def zip_pairs(
    images: Path, image_pattern: str, masks: Path, mask_pattern: str, convert: Callable[[Pixels], Pixels]
) -> Pairs:
    """Yield the pairs of one or two zip archives.

    Parameters
    ----------
    images, masks
        The archives; the same path twice if one archive holds both.
    image_pattern, mask_pattern
        Regular expressions that match the full name of a member. Their only group is the stem that pairs
        images with masks.
    convert
        `binary` or `instances`; applied to a mask's first channel.

    Raises
    ------
    DataError
        An archive is damaged or unsafe.
    """
    with open_archive(images) as first, open_archive(masks) as second:
        image_of, mask_of = _members(first, image_pattern), _members(second, mask_pattern)
        for stem in sorted(image_of.keys() & mask_of.keys()):
            with _decode(first, image_of[stem]) as image, _decode(second, mask_of[stem]) as mask:
                yield stem, _image(image), convert(_channel(mask))


def stack_pairs(images: Path, masks: Path, convert: Callable[[Pixels], Pixels]) -> Pairs:
    """Yield the pages of two TIFF stacks of equal length; page 0 of ``NAME.tif`` becomes ``NAME_001``.

    Raises
    ------
    DataError
        A stack is damaged, or the stacks differ in length.
    """
    with _reading(images.name):
        image, truth = Image.open(images), Image.open(masks)
    with image, truth:
        pages = getattr(image, "n_frames", 1)
        if pages != getattr(truth, "n_frames", 1):
            raise DataError(f"The stacks '{images.name}' and '{masks.name}' have different numbers of pages.")
        for page in range(pages):
            with _reading(f"page {page} of {images.name}"):
                image.seek(page)
                truth.seek(page)
                image.load()
                truth.load()
            yield f"{images.stem}_{page + 1:03d}", _image(image), convert(_channel(truth))


def _members(archive: zipfile.ZipFile, pattern: str) -> dict[str, str]:
    """Members by stem, without the resource forks that macOS adds to archives."""
    found = {}
    for name in archive.namelist():
        match = re.fullmatch(pattern, name)
        if match and "__MACOSX" not in name and not PurePosixPath(name).name.startswith("._"):
            found[match[1]] = name
    return found


def _decode(archive: zipfile.ZipFile, member: str) -> Image.Image:
    with _reading(member):
        image = Image.open(io.BytesIO(archive.read(member)))
        image.load()
        return image


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn errors of damaged files into `DataError`; zip, deflate and image decoders each raise their own.

    If a damaged entry names an unknown compression method, `zipfile` raises `NotImplementedError`.
    """
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, EOFError, SyntaxError) as error:
        raise DataError(f"A download is damaged at '{what}' ({error}); delete it and fetch again.") from error


def _image(image: Image.Image) -> Pixels:
    """uint8 (H, W), uint8 (H, W, 3) or uint16 (H, W)."""
    if image.mode in ("P", "RGBA", "CMYK"):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        return pixels.astype(np.uint16)  # also converts big-endian pixels
    if pixels.dtype != np.uint8:
        raise DataError(f"An image has pixels of type {pixels.dtype}; 8 or 16 bits are expected.")
    return pixels


def _channel(mask: Image.Image) -> Pixels:
    """The first (red) channel."""
    pixels = np.asarray(mask.convert("RGB") if mask.mode == "P" else mask)
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def binary(mask: Pixels) -> Pixels:
    """255 for mask pixels above 0, else 0."""
    return np.where(mask > 0, np.uint8(255), np.uint8(0))


def instances(mask: Pixels) -> Pixels:
    """Number the connected components of equal value; uint16."""
    numbers = label(mask.astype(np.int32))
    if numbers.max() > np.iinfo(np.uint16).max:
        raise DataError("A mask holds more than 65,535 objects.")
    numbered: Pixels = numbers.astype(np.uint16)
    return numbered
