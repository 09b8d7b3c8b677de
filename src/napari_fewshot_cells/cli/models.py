"""``napari-fewshot models``: manages the library of bundled and own models."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.atomic_files import writing
from ..models.export import FORMATS, export_to
from .console import one_line_errors

if TYPE_CHECKING:
    from ..models.library import ModelEntry

models_app = typer.Typer(
    help="List, show, import, export, rename and delete models, and write notes on them.",
    rich_markup_mode=None,
)

_FORMATS = ", ".join(f"{suffix} ({known.title})" for suffix, known in FORMATS.items())

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a model in the library.")]


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List, show, import, export, rename and delete models, and write notes on them. By default, list."""
    if context.invoked_subcommand is None:
        list_all()


@models_app.command("list")
@one_line_errors()
def list_all() -> None:
    """List the models, bundled ones first."""
    from ..models.library import library_dir, list_models

    heads = ("name", "network", "from", "images", "diameter", "date", "score", "note")
    rows = [heads, *(_row(entry) for entry in list_models())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    typer.echo(f"\nYour models are in {library_dir()}")


@models_app.command()
@one_line_errors()
def show(name: Name) -> None:
    """Show a model's card: what it is and where it comes from."""
    from ..models.model_file import read_card
    from .predict import model_file

    for key, value in asdict(read_card(model_file(name))).items():
        if value not in (None, "", (), {}):
            typer.echo(f"{key:<18} {_readable(value)}")


@models_app.command("import")
@one_line_errors()
def import_file(file: Annotated[Path, typer.Argument(metavar="FILE", help="A model file.")]) -> None:
    """Check a model file, then copy it into the library under the file's name."""
    from ..models.library import import_model, library_dir

    with writing(library_dir()):
        entry = import_model(file)
    typer.echo(f"imported '{entry.name}' as {entry.path}")


@models_app.command(help=f"Write a model of the library to a file: {_FORMATS}.")
@one_line_errors()
def export(
    name: Name,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write; its suffix chooses the format.")
    ],
) -> None:
    """Write a model of the library to a file, in the format of the file's suffix."""
    with writing(file):
        path = export_to(name, file)
    typer.echo(f"exported '{name}' to {path}")


@models_app.command()
@one_line_errors()
def rename(
    name: Name, new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="The new name.")]
) -> None:
    """Rename one of your own models."""
    from ..models.library import library_dir, rename_model

    with writing(library_dir()):
        entry = rename_model(name, new_name)
    typer.echo(f"renamed '{name}' to '{entry.name}'")


@models_app.command()
@one_line_errors()
def note(
    name: Name,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note; it replaces the old one.")],
) -> None:
    """Write a note on one of your own models."""
    from ..models.library import edit_note, library_dir

    with writing(library_dir()):
        edit_note(name, text)
    typer.echo(f"saved the note on '{name}'")


@models_app.command()
@one_line_errors()
def delete(name: Name) -> None:
    """Delete one of your own models."""
    from ..models.library import delete_model, library_dir

    with writing(library_dir()):
        delete_model(name)
    typer.echo(f"deleted '{name}'")


def _row(entry: ModelEntry) -> tuple[str, ...]:
    from ..base.errors import ModelError

    origin = "bundled" if entry.bundled else "you"
    try:
        card = entry.card
    except ModelError:  # one damaged file must not hide the others; `show` reports its fault
        return entry.name, "damaged", origin, *[""] * 5
    size = "" if card.diameter is None else f"{card.diameter:.0f} px"
    shots = str(card.k_shot) if card.k_shot else ""
    own_note = "" if entry.bundled else " ".join(card.notes.split())  # bundled ones' are long: see `show`
    return entry.name, card.architecture, origin, shots, size, card.date[:10], card.score, own_note


def _readable(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_readable(item)}" for key, item in value.items())
    if isinstance(value, tuple | list):
        return "; ".join(_readable(item) for item in value)
    return str(value)
