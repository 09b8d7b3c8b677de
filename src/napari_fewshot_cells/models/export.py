"""A model of the library as a file: the plugin's own, ONNX, or a package of the bioimage.io model zoo.

The last two need the extra ``export``; what it brings is imported when it is used.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..base.atomic_files import write_atomically
from ..base.errors import ModelError
from .library import export_model, find_entry
from .model_file import read_model


def export_to(name: str, file: Path) -> Path:
    """Write a model of the library to a file, in the format that its suffix names.

    Parameters
    ----------
    name : str
        Of a model in the library.
    file : Path
        ``.onnx``; ``.zip``, a bioimage.io package; anything else becomes ``.safetensors``.

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
    if suffix not in (".onnx", ".zip"):
        return export_model(name, file)
    needed = ("onnx", "onnxruntime") + (("bioimageio.spec",) if suffix == ".zip" else ())
    missing = [package for package in needed if not _is_installed(package)]
    if missing:
        raise ModelError(
            f"Export to {suffix} needs {' and '.join(missing)}: pip install 'napari-fewshot-cells[export]'."
        )
    if file.exists():
        raise ModelError(f"'{file}' exists; delete it first or choose another name.")
    from .bioimageio import to_package
    from .onnx import to_onnx

    model = read_model(find_entry(name).path)
    content = to_onnx(model) if suffix == ".onnx" else to_package(model)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, content)
    return file


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
