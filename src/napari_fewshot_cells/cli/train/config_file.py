"""``--config FILE.toml``: reads a command's options from a file, instead of flags or along with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...base.errors import FewShotError
from ...base.toml_file import read_toml
from ..console import one_line_errors


@one_line_errors()
def configure(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help='File of options by command: [meta] arch = "unet". Flags override it.'
        ),
    ] = None,
) -> None:
    """Take the defaults of all commands from a file.

    Raises
    ------
    FewShotError
        The file cannot be read, or names an unknown command or option.
    """
    if config is not None:
        context.default_map = _read(config, context.command.commands)  # type: ignore[attr-defined]


def _read(path: Path, commands: dict[str, Any]) -> dict[str, dict[str, Any]]:
    tables = read_toml(path, "configuration")
    for name, table in tables.items():
        if name not in commands or not isinstance(table, dict):
            raise FewShotError(
                f"'{name}' in the configuration '{path}' is not a command's table; use {', '.join(commands)}."
            )
    return {name: _options(path, name, table, commands[name].params) for name, table in tables.items()}


def _options(path: Path, command: str, table: dict[str, Any], parameters: list[Any]) -> dict[str, Any]:
    """Options by parameter name; a repeatable option is a list even if the file has a single value."""
    by_name = {parameter.name: parameter for parameter in parameters}
    options = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in by_name:
            raise FewShotError(
                f"The configuration '{path}' has '{key}', which is not an option of '{command}'."
            )
        repeated = by_name[name].multiple or by_name[name].nargs == -1
        if isinstance(value, dict) or (isinstance(value, list) and not repeated):
            raise FewShotError(
                f"'{key}' of '{command}' in the configuration '{path}' must be a single value."
            )
        options[name] = [value] if repeated and not isinstance(value, list) else value
    return options
