"""The table of objects as a CSV file for spreadsheets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ...base.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def file_name(layer_name: str) -> str:
    """A suggested file name for a layer's table, without characters that some systems forbid."""
    return re.sub(r'[\s\x00-\x1f\x7f/\\:*?"<>|]+', " ", layer_name).strip() + ".csv"


def save_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a features table, the whole file or nothing.

    Raises
    ------
    DataError
        The path cannot be written. An existing file stays as it was.
    """
    from ...base.atomic_files import write_atomically

    # with a byte order mark: without it Excel garbles the µ of the units
    content = table.rename(columns={"index": "object"}).to_csv(index=False).encode("utf-8-sig")
    try:
        write_atomically(path, content)
    except OSError as error:
        raise DataError(
            f"'{path}' cannot be written: {error.strerror or error}; choose another folder or name."
        ) from error
