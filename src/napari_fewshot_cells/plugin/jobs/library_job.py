"""Reads and changes the model library, as a job for a worker thread: it reads and writes files."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...base.errors import ModelError

if TYPE_CHECKING:
    from ...models.library import ModelEntry
    from ...models.model import ModelCard


@dataclass(frozen=True, eq=False)
class LibraryRow:
    """A model and its card, or the fault of its file."""

    entry: ModelEntry
    card: ModelCard | None
    fault: str = ""


@dataclass(frozen=True, eq=False)
class LibraryRead:
    """The current library, a message about what was done, and the old and new name of a renamed model."""

    rows: tuple[LibraryRow, ...]
    message: str
    renamed: tuple[str, str] | None


def library_job(
    act: Callable[[], str] | None = None, renamed: tuple[str, str] | None = None
) -> Generator[LibraryRead, None, None]:
    """Run `act` on the library, if given, then read the library.

    Parameters
    ----------
    act : callable, optional
        Changes the library; returns a message for the user.
    renamed : tuple of str, optional
        Old and new name, if `act` renames a model.

    Raises
    ------
    FewShotError
        `act` fails; one line says why.
    """
    from ...base.atomic_files import writing
    from ...models.library import library_dir, list_models

    message = ""
    if act is not None:
        with writing(library_dir()):
            message = act()
    yield LibraryRead(tuple(_row(entry) for entry in list_models()), message, renamed)


def _row(entry: ModelEntry) -> LibraryRow:
    try:
        return LibraryRow(entry, entry.card)
    except ModelError as error:  # one damaged file must not hide the others
        return LibraryRow(entry, None, str(error))


def rename(name: str, new_name: str) -> str:
    from ...models.library import rename_model

    rename_model(name, new_name)
    return f"'{name}' is now '{new_name}'."


def note(name: str, text: str) -> str:
    from ...models.library import edit_note

    edit_note(name, text)
    return f"The note of '{name}' is saved."


def delete(name: str) -> str:
    from ...models.library import delete_model

    delete_model(name)
    return f"'{name}' is deleted."


def import_file(file: Path) -> str:
    from ...models.library import import_model

    return f"'{import_model(file).name}' is in the library now."


def export_file(name: str, file: Path) -> str:
    from ...base.atomic_files import writing
    from ...models.export import export_to

    with writing(file):
        return f"'{name}' is exported to '{export_to(name, file)}'."
