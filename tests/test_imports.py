"""What may import what: checked in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import npe2
import pytest

import napari_fewshot_cells

PACKAGE = Path(napari_fewshot_cells.__file__).parent
WITH_A_SCREEN = {"plugin", "cli"}
CORE = sorted(
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
    for file in PACKAGE.rglob("*.py")
    if file.stem not in ("__init__", "__main__") and file.relative_to(PACKAGE).parts[0] not in WITH_A_SCREEN
)


def loaded_by(code: str) -> set[str]:
    """Top-level modules that an interpreter has loaded after running `code`."""
    script = f"{code}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_the_core_needs_neither_napari_nor_qt() -> None:
    assert {"finetune.fine_tune", "prediction.probability", "data.plane", "models.model"} <= set(CORE)
    loaded = loaded_by("\n".join(f"import napari_fewshot_cells.{name}" for name in CORE))
    assert "torch" in loaded
    assert loaded.isdisjoint({"napari", "qtpy", "superqt", "PyQt6", "PyQt5", "PySide6"})


@pytest.mark.parametrize("module", ["panel.panel", "layers.sample_data"])
def test_what_the_manifest_names_imports_without_torch(module: str) -> None:
    assert "torch" not in loaded_by(f"import napari_fewshot_cells.plugin.{module}")


def test_the_package_itself_imports_none_of_the_heavy_ones() -> None:
    loaded = loaded_by("import napari_fewshot_cells")
    assert loaded.isdisjoint({"torch", "numpy", "pydantic", "pandas", "napari"})


def test_the_manifest_is_valid_and_every_command_can_be_imported() -> None:
    manifest = npe2.PluginManifest.from_file(PACKAGE / "napari.yaml")
    manifest.validate_imports()
    assert [widget.display_name for widget in manifest.contributions.widgets] == ["Few-shot segmentation"]
    assert {sample.key for sample in manifest.contributions.sample_data} == {
        "fluorescent_cells",
        "electron_microscopy",
    }
    assert "napari/layers/segment" in manifest.contributions.menus
