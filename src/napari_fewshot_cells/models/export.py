"""A model of the library as a file: the plugin's own, ONNX, or a package of the bioimage.io model zoo.

To add a format is one entry in `FORMATS` and the function that writes it. The command line's help and the
dialog's filter follow from the entry. What a format needs, torch included, is imported when it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.atomic_files import write_atomically
from ..base.errors import ModelError
from .library import find_entry
from .model_file import read_model, write_model

if TYPE_CHECKING:
    from .model import Model

OWN_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class ExportFormat:
    """A format that models are exported to.

    Attributes
    ----------
    title : str
        For lists.
    write : callable
        Writes a model to a file, as a whole or not at all; the file's folder exists.
    needs : tuple of str
        Modules that must be installed.
    install : str
        What pip installs them by.
    """

    title: str
    write: Callable[[Model, Path], object]
    needs: tuple[str, ...] = ()
    install: str = "'napari-fewshot-cells[export]'"


def _write_onnx(model: Model, file: Path) -> None:
    from .onnx import to_onnx

    write_atomically(file, to_onnx(model))


def _write_package(model: Model, file: Path) -> None:
    from .bioimageio import to_package

    write_atomically(file, to_package(model))


FORMATS: dict[str, ExportFormat] = {
    OWN_SUFFIX: ExportFormat("Model of this plugin", write_model),
    ".onnx": ExportFormat("ONNX", _write_onnx, needs=("onnx", "onnxruntime")),
    ".zip": ExportFormat(
        "bioimage.io package", _write_package, needs=("onnx", "onnxruntime", "bioimageio.spec")
    ),
}
"""By the suffix of the file, in small letters."""


def export_to(name: str, file: Path) -> Path:
    """Write a model of the library to a file, in the format that its suffix names.

    Parameters
    ----------
    name : str
        Of a model in the library.
    file : Path
        A suffix that is none of `FORMATS` is part of the name, and ``.safetensors`` follows it.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ModelError
        No such model, the file exists, packages that the format needs are missing, or see `to_onnx`.
    OSError
        The file cannot be written.
    """
    suffix = file.suffix.lower()
    if suffix not in FORMATS or suffix == OWN_SUFFIX != file.suffix:
        file, suffix = file.with_name(file.name + OWN_SUFFIX), OWN_SUFFIX
    chosen = FORMATS[suffix]
    missing = [module for module in chosen.needs if not _is_installed(module)]
    if missing:
        raise ModelError(f"Export to {suffix} needs {' and '.join(missing)}: pip install {chosen.install}.")
    if file.exists():
        raise ModelError(f"'{file}' exists; delete it first or choose another name.")
    model = read_model(find_entry(name).path)
    file.parent.mkdir(parents=True, exist_ok=True)
    chosen.write(model, file)
    return file


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
