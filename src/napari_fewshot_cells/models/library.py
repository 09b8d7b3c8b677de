"""The library of models: the bundled ones, which cannot be overwritten, and the user's own.

The user's models are in one folder of the user's data directory, never in the current directory.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path

from ..base.errors import ModelError
from ..base.user_folder import user_home
from .model import Model, ModelCard
from .model_file import read_card, read_model, write_model
from .registry import DEFAULT


@dataclass(frozen=True)
class ModelEntry:
    """A model of the library.

    Attributes
    ----------
    name : str
    path : Path
    bundled : bool
        Whether the model came with the package and cannot be changed.
    """

    name: str
    path: Path
    bundled: bool

    @property
    def card(self) -> ModelCard:
        """The model's card, read from the file; raises `ModelError` if the file is damaged."""
        return read_card(self.path)


def library_dir() -> Path:
    """Folder of the user's models; the environment variable NAPARI_FEWSHOT_HOME moves it."""
    return user_home() / "models"


def bundled_dir() -> Path:
    """Folder of the bundled models: in the installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "pretrained"
    return installed if installed.is_dir() else package.parents[1] / "pretrained"


def list_models() -> list[ModelEntry]:
    """All models, sorted by name: the default first, then the other bundled ones, then the user's."""
    files = sorted(bundled_dir().glob("*.safetensors"), key=lambda path: (path.stem != DEFAULT, path.stem))
    bundled = [ModelEntry(path.stem, path, True) for path in files]
    taken = {entry.name for entry in bundled}
    own = sorted(library_dir().glob("*.safetensors"))
    return bundled + [ModelEntry(path.stem, path, False) for path in own if path.stem not in taken]


def load_model(name_or_path: str | Path) -> Model:
    """Load a model by its name in the library or by the path of its file.

    Raises
    ------
    ModelError
        There is no such model, or its file cannot be used.
    """
    return read_model(find_file(name_or_path))


def find_file(name_or_path: str | Path) -> Path:
    """The file of a model, by its name in the library or by the file's path.

    A path that ends in ``.safetensors`` is returned even if there is no such file.

    Raises
    ------
    ModelError
        There is no such model.
    """
    for entry in list_models():
        if entry.name == str(name_or_path):
            return entry.path
    path = Path(name_or_path)
    if path.suffix == ".safetensors" or path.is_file():
        return path
    known = ", ".join(entry.name for entry in list_models()) or "none"
    raise ModelError(f"There is no model '{name_or_path}', neither in the library ({known}) nor as a file.")


def save_model(model: Model, name: str | None = None) -> ModelEntry:
    """Save a model to the user's library, by default under its own name.

    It replaces the user's model of that name.

    Raises
    ------
    ModelError
        The name is impossible for a file, or is a bundled model's.
    """
    name = model.card.name if name is None else name
    path = own_path(name)
    return ModelEntry(name, write_model(model.renamed(name), path), False)


def note_score(name: str, score: str) -> None:
    """Write a score into the card of one of the user's models; the weights stay unchanged.

    Parameters
    ----------
    name : str
        Name of the model. If it was deleted or renamed after it was measured, nothing is written.
    score : str
        How good the model is, in plain words.

    Raises
    ------
    ModelError
        The file is damaged or cannot be written.
    """
    path = own_path(name)
    if not path.is_file():
        return
    model = read_model(path)
    try:
        write_model(Model(replace(model.card, score=score), model.network), path)
    except OSError as error:
        raise ModelError(f"The score of '{name}' cannot be saved ({error}).") from error


def import_model(file: Path, name: str | None = None) -> ModelEntry:
    """Check that a model file can be used, then copy it into the library.

    Raises
    ------
    ModelError
        The file cannot be used, or the library already has a model of that name.
    """
    name = file.stem if name is None else name
    model = read_model(file)
    if own_path(name).exists():
        raise ModelError(f"The library has a model '{name}' already; delete it first or choose another name.")
    return save_model(model, name)


def delete_model(name: str) -> None:
    """Delete one of the user's models.

    Raises
    ------
    ModelError
        There is no such model, or it is a bundled one.
    """
    entry = _own_entry(name, "deleted")
    entry.path.unlink()
    entry.path.with_suffix(".json").unlink(missing_ok=True)


def rename_model(name: str, new_name: str) -> ModelEntry:
    """Rename one of the user's models.

    Raises
    ------
    ModelError
        There is no such model, it is a bundled one, or the new name is impossible for a file or taken.
    """
    entry = _own_entry(name, "renamed")
    if new_name == name:
        return entry
    if own_path(new_name).exists():
        raise ModelError(f"The library has a model '{new_name}' already; choose another name.")
    renamed = save_model(read_model(entry.path), new_name)
    delete_model(name)
    return renamed


def edit_note(name: str, note: str) -> ModelEntry:
    """Replace the note on one of the user's models.

    Raises
    ------
    ModelError
        There is no such model, or it is a bundled one.
    """
    model = read_model(_own_entry(name, "edited").path)
    return save_model(replace(model, card=replace(model.card, notes=note)), name)


def _own_entry(name: str, done: str) -> ModelEntry:
    entry = find_entry(name)
    if entry.bundled:
        raise ModelError(f"'{name}' came with the package and cannot be {done}.")
    return entry


def find_entry(name: str) -> ModelEntry:
    """The model of this name; raises `ModelError` if there is none."""
    for entry in list_models():
        if entry.name == name:
            return entry
    raise ModelError(f"The library has no model '{name}'.")


def unused_name(name: str) -> str:
    """This name, with a number appended if the user's library already has a model of that name."""
    taken = (f"{name} ({number})" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], taken) if not own_path(free).exists())


def own_path(name: str) -> Path:
    """The path of a user's model of this name, whether or not the model exists.

    Raises
    ------
    ModelError
        The name is impossible for a file, or is a bundled model's.
    """
    if not re.fullmatch(r"[\w][\w .()+-]*", name):
        raise ModelError(f"'{name}' cannot name a model: use only letters, digits, spaces and . - _ ( ) +.")
    if (bundled_dir() / f"{name}.safetensors").exists():
        raise ModelError(f"'{name}' is a bundled model; choose another name.")
    return library_dir() / f"{name}.safetensors"
