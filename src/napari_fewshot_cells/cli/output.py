"""Files that the commands write: as a whole or not at all, and a full disk is one line."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line what keeps `path` from being written: no permission, a full disk, …"""
    try:
        yield
    except OSError as error:
        raise DataError(f"'{path}' cannot be written: {error.strerror or error}.") from error


def make_writable(folder: Path) -> None:
    """Make a folder if it is missing, and try whether a file can be made in it.

    Raises
    ------
    DataError
        It cannot; better said before the work than after it.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def write_tiff(path: Path, plane: NDArray[Any]) -> None:
    """Write one plane as a losslessly compressed TIFF.

    Raises
    ------
    DataError
        The disk is full or the folder gone; no half-written file stays.
    """
    import tifffile

    from ..models import write_atomically

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, plane, compression="zlib", photometric="minisblack")
    with writing(path):
        write_atomically(path, buffer.getvalue())
