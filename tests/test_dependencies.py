"""pyproject.toml declares what the package imports, and imports what it declares."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import napari_fewshot_cells

PACKAGE = Path(napari_fewshot_cells.__file__).parent
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
PROJECT = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]

EXTRAS = {
    "training/": "train",
    "experiment/": "train",
    "datasets/": "train",
    "cli/train/": "train",
    "models/export.py": "export",
    "models/onnx.py": "export",
    "models/bioimageio.py": "export",
    "data/readers.py": "zarr",
}
"""Which rooms and files may import what only an extra installs."""

THEIRS = {"bioio"}
"""What a person installs together with the reader of a format; `read_plane` says so."""


def normal(name: str) -> str:
    """A requirement or distribution by the name that PyPI compares."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!\[ ]", name)[0]).lower()


def imports(file: Path) -> set[str]:
    """Top-level modules that a file imports from elsewhere."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names


IMPORTS = {file.relative_to(PACKAGE).as_posix(): imports(file) for file in PACKAGE.rglob("*.py")}
DISTRIBUTIONS = packages_distributions()


def distributions(module: str) -> set[str]:
    return {normal(name) for name in DISTRIBUTIONS.get(module, [module])}


def test_what_is_imported_is_declared() -> None:
    base = {normal(requirement) for requirement in PROJECT["dependencies"]}
    extras = {
        extra: {normal(requirement) for requirement in requirements}
        for extra, requirements in PROJECT["optional-dependencies"].items()
    }
    undeclared = {
        (file, module)
        for file, modules in IMPORTS.items()
        for module in modules - THEIRS
        if not distributions(module)
        & base.union(*(extras[extra] for room, extra in EXTRAS.items() if file.startswith(room)))
    }
    assert not undeclared


def test_a_base_dependency_is_imported_or_says_why_not() -> None:
    imported = {name for modules in IMPORTS.values() for module in modules for name in distributions(module)}
    text = PYPROJECT.read_text(encoding="utf-8")
    for requirement in PROJECT["dependencies"]:
        before, after = text.split(f'"{requirement}",', 1)
        comments = before.splitlines()[-2].strip(), after.splitlines()[0].strip()
        excused = any(comment.startswith("# not imported: ") for comment in comments)
        assert normal(requirement) in imported or excused, requirement
