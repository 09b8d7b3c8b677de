"""Command lines, downloads and lists follow from one record per set."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_fewshot_cells.base.errors import DataError
from napari_fewshot_cells.datasets.download import fetch_sources
from napari_fewshot_cells.datasets.five_sets import (
    PUBLISHED_SETS,
    SOURCE_NAMES,
    Download,
    check_names,
    find_sources,
)
from napari_fewshot_cells.datasets.own_sets import check_source, choose_sources

REGISTER = """
from dataclasses import replace
from napari_fewshot_cells.datasets.five_sets import PUBLISHED_SETS
PUBLISHED_SETS["yeast"] = replace(PUBLISHED_SETS["EM"], description="yeast")
"""


@pytest.fixture
def yeast(monkeypatch: pytest.MonkeyPatch) -> str:
    def unpack(files):
        values = np.arange(900, dtype=np.uint8).reshape(30, 30)
        yield files[0].stem, values, values // 128

    record = replace(
        PUBLISHED_SETS["EM"],
        description="yeast",
        instances=True,
        separates_touching=True,
        official_pairs=1,
        files=(Download("https://example.org/a.bin", "a.bin"),),
        unpack=unpack,
    )
    monkeypatch.setitem(PUBLISHED_SETS, "yeast", record)
    return "yeast"


def test_a_registered_set_is_known_everywhere(yeast: str, tmp_path: Path) -> None:
    assert list(SOURCE_NAMES) == ["B5", "B39", "ssTEM", "EM", "TNBC", yeast]
    assert check_names([yeast, "B5"]) == ("B5", yeast)
    with pytest.raises(DataError, match="choose from B5, B39, ssTEM, EM, TNBC, yeast"):
        check_names(["B6"])
    with pytest.raises(DataError, match="'yeast' is a published set"):
        check_source(f"{yeast}={tmp_path}")
    for name in SOURCE_NAMES:
        for part in ("images", "masks"):
            (tmp_path / name / part).mkdir(parents=True)
            Image.fromarray(np.eye(30, dtype=np.uint8)).save(tmp_path / name / part / "a.png")
    assert [source.name for source in choose_sources(tmp_path, "B5", [])] == list(SOURCE_NAMES)[1:]
    source = find_sources(tmp_path)[yeast]
    assert (source.description, source.instances) == ("yeast", True)


def test_its_own_function_unpacks_it(yeast: str, tmp_path: Path) -> None:
    store = tmp_path / ".downloads" / yeast
    store.mkdir(parents=True)
    (store / "a.bin").write_bytes(b"fetched before the last process was stopped")
    source = fetch_sources(tmp_path, [yeast])[yeast]
    assert [image.name for image, _ in source.pairs] == ["a.png"]


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_choices_of_the_command_line_follow() -> None:
    names = "from napari_fewshot_cells.cli.choices import Target; print(*(t.value for t in Target))"
    assert run(names).split() == ["none", "B5", "B39", "ssTEM", "EM", "TNBC"]
    assert run(REGISTER + names).split() == ["none", "B5", "B39", "ssTEM", "EM", "TNBC", "yeast"]
    helped = (
        "from typer.testing import CliRunner\n"
        "from napari_fewshot_cells.cli.train.main import app\n"
        "for command in ('data', 'meta', 'transfer'):\n"
        "    print(CliRunner().invoke(app, [command, '--help']).output)"
    )
    assert run(REGISTER + helped).replace("\n", " ").count("yeast") == 3


def test_the_records_cost_nothing_to_import() -> None:
    code = "import sys, napari_fewshot_cells.cli.choices; print(*sys.modules)"
    assert {"numpy", "PIL", "skimage", "torch", "requests"}.isdisjoint(run(code).split())
