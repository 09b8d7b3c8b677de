"""Settings that a user wrote down in TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from .errors import FewShotError


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Tables of a file.

    Parameters
    ----------
    path : Path
    what : str
        What the file is to the user, for the errors: "schedule".

    Raises
    ------
    FewShotError
        The file cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FewShotError(f"The {what} '{path}' cannot be read ({error.strerror}).") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise FewShotError(f"The {what} '{path}' is no TOML ({error}).") from error
