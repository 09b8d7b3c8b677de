"""Measurements as a file that spreadsheets read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ...base.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def file_name(layer_name: str) -> str:
    """A name to suggest for a layer's table, free of characters that some system forbids."""
    return re.sub(r'[\s\x00-\x1f\x7f/\\:*?"<>|]+', " ", layer_name).strip() + ".csv"


def save_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a features table as a whole or not at all.

    Raises
    ------
    DataError
        The path cannot be written; what was there stays.
    """
    from ...base.atomic_files import write_atomically

    # with a byte order mark: without it Excel spoils the µ of the units
    content = table.rename(columns={"index": "object"}).to_csv(index=False).encode("utf-8-sig")
    try:
        write_atomically(path, content)
    except OSError as error:
        raise DataError(
            f"'{path}' cannot be written: {error.strerror or error}; choose another folder or name."
        ) from error
