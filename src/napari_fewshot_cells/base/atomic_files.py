"""Write files completely or not at all, and report a full disk in one line."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` into a one-line `DataError` that says why `path` cannot be written."""
    try:
        yield
    except OSError as error:
        raise DataError(f"'{path}' cannot be written: {error.strerror or error}.") from error


def make_writable(folder: Path) -> None:
    """Make a folder if it is missing, and check that a file can be made in it; call it before long work.

    Raises
    ------
    DataError
        The folder cannot be made, or no file can be made in it.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def tiff_bytes(plane: NDArray[Any], *, level: int = 6, rgb: bool = False) -> bytes:
    """A plane or a stack as a losslessly compressed TIFF; a lower level is faster and makes a larger file."""
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        plane,
        compression="zlib",
        compressionargs={"level": level},
        photometric="rgb" if rgb else "minisblack",
    )
    return buffer.getvalue()


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files completely or not at all: to temporary files beside them, which are then renamed.

    Raises
    ------
    DataError
        The disk is full, or the folder is gone. No half-written file stays.
    """
    staged: list[tuple[str, Path]] = []
    try:
        for path, content in contents.items():
            with writing(path):
                handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
                staged.append((temporary, path))
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(temporary, 0o644)
        while staged:
            with writing(staged[0][1]):
                os.replace(*staged[0])
            staged.pop(0)
    finally:
        for temporary, _ in staged:
            os.unlink(temporary)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file completely or not at all: to a temporary file beside it, which is then renamed."""
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` when the block ends; an exception deletes it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C and a closed generator, too; raised again
        os.unlink(temporary)
        raise
