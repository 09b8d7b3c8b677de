"""Exports a model of the library to a file: the plugin's own format, ONNX, or a bioimage.io package.

A new format takes one entry in `FORMATS` and the function that writes it. The command line's help and the
dialog's filter follow from the entry. The packages of a format, torch included, are imported when it is
written.
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
    """A file format for exported models.

    Attributes
    ----------
    title : str
        Name in lists.
    write : callable
        Writes a model to a file, completely or not at all; the file's folder exists.
    needs : tuple of str
        Modules that must be installed to write it.
    install : str
        Argument of ``pip install`` that installs these modules.
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
"""The formats by the suffix of the file, in lower case."""


def export_to(name: str, file: Path) -> Path:
    """Write a model of the library to a file, in the format of the file's suffix.

    Parameters
    ----------
    name : str
        Name of a model in the library.
    file : Path
        If its suffix is not in `FORMATS`, ``.safetensors`` is appended.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ModelError
        There is no such model, the file exists, the format needs a missing package, or `to_onnx` fails.
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
    except ModuleNotFoundError:  # the parent package is missing
        return False
