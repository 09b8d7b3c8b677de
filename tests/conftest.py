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
