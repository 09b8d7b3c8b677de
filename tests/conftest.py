"""Shared fixtures: a library of its own for every test, and the real data where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the models, sessions and data of the person who runs it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("NAPARI_FEWSHOT_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def source_data() -> Path:
    """Folder of the real source sets; the test skips, saying so, where there is none."""
    given = os.environ.get("NAPARI_FEWSHOT_DATA")
    folder = Path(given) if given else Path(__file__).parents[1].parent / "shared" / "data"
    if not (folder / "B39" / "images").is_dir():
        pytest.skip(f"real source sets missing: none in {folder} (set NAPARI_FEWSHOT_DATA)")
    return folder


@pytest.fixture(scope="session")
def five_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder laid out as the five source sets, each with 12 small simulated images."""
    from skimage import io

    from napari_fewshot_cells.simulate import electron_microscopy, fluorescent_cells
    from napari_fewshot_cells.training.sources import FACTS

    data = tmp_path_factory.mktemp("five")
    for name, facts in FACTS.items():
        simulate = electron_microscopy if name.endswith("EM") else fluorescent_cells
        for part in ("images", "masks"):
            (data / name / part).mkdir(parents=True)
        for seed in range(12):
            image, labels = simulate((96, 96), seed=seed)
            mask = labels.astype("uint16") if facts.instances else ((labels > 0) * 255).astype("uint8")
            io.imsave(data / name / "images" / f"{seed}.png", image, check_contrast=False)
            io.imsave(data / name / "masks" / f"{seed}.png", mask, check_contrast=False)
    return data
