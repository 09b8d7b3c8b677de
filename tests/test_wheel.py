"""The wheel: complete, small, free of images, and usable on its own."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_BYTES = 20_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.glob("*.whl")
    return file


def test_contents(wheel: Path) -> None:
    assert wheel.stat().st_size < MOST_BYTES
    names = zipfile.ZipFile(wheel).namelist()
    package = "napari_fewshot_cells/"
    for name in ("napari.yaml", "py.typed", "__main__.py", "cli/main.py"):
        assert package + name in names
    templates = ROOT / "src" / package / "experiment" / "report" / "templates"
    assert {f"{package}experiment/report/templates/{file.name}" for file in templates.iterdir()} <= set(names)
    for model in ("half-unet", "fcrn", "unet"):
        for suffix in (".safetensors", ".json"):
            assert f"{package}pretrained/{model}{suffix}" in names
    assert not [name for name in names if "leave-one-out" in name]
    assert any(re.fullmatch(r"napari_fewshot_cells-.*\.dist-info/licenses/LICENSE", name) for name in names)
    assert not [name for name in names if name.lower().endswith((".png", ".tif", ".tiff", ".jpg", ".npy"))]
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]


def test_bundled_models_load_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "env"
    venv.create(environment, with_pip=False)
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "install", "--quiet",
         "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)],
        check=True,
    )  # fmt: skip
    # The dependencies are those of the running environment, behind the fresh one on the path. Only lines of
    # .pth files directly in a site directory are followed, so the editable install there stays out.
    own = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    code = """
import sys
from pathlib import Path
import torch
import napari_fewshot_cells
from napari_fewshot_cells.models.library import load_model
assert Path(napari_fewshot_cells.__file__).is_relative_to(sys.argv[1]), napari_fewshot_cells.__file__
for name in ("half-unet", "fcrn", "unet"):
    model = load_model(name)
    assert model.card.name == name
    assert model.card.sources and model.card.licence and model.card.command, model.card
    logits, latent = model.network(torch.rand(2, 1, 64, 96))
    assert logits.shape == (2, 1, 64, 96)
    assert logits.isfinite().all() and latent.isfinite().all()
print("loaded")
"""
    done = subprocess.run(
        [str(scripts / "python"), "-I", "-c", code, str(environment)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "loaded\n"
    listed = subprocess.run(
        [str(scripts / "napari-fewshot"), "models"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "fcrn" in listed.stdout
