"""Read a TOML file that a user wrote."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from .errors import FewShotError


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Parameters
    ----------
    path : Path
    what : str
        What the user calls the file, for error messages: "schedule".

    Raises
    ------
    FewShotError
        The file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FewShotError(f"The {what} '{path}' cannot be read ({error.strerror}).") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise FewShotError(f"The {what} '{path}' is not TOML ({error}).") from error
