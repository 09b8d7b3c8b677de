"""``napari-fewshot-train data``: what it lists, what it finds wrong, and how it fails without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from napari_fewshot_cells.cli.train.main import app


def run(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["data", *arguments])


def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `napari-fewshot-train data` as a user does."""
    code = "from napari_fewshot_cells.cli.train.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "data", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
    )


@pytest.fixture
def two_sets(tmp_path: Path) -> Path:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 10:30] = 255
    for name in ("EM", "B39"):
        for part, pixels in (("images", np.arange(2400, dtype=np.uint16).reshape(40, 60)), ("masks", mask)):
            (tmp_path / name / part).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / name / part / "one.png")
    return tmp_path


def assert_one_line_error(returncode: int, stderr: str, words: str) -> None:
    assert returncode == 2, stderr
    lines = stderr.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert words in lines[-1]
    assert not any("Traceback" in line or line.startswith("error: ") for line in lines[:-1])


def assert_fails(result: Result, words: str) -> None:
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert_one_line_error(result.exit_code, result.stderr, words)


def test_lists_what_is_there_and_what_is_missing(two_sets: Path):
    result = run("--data", str(two_sets))
    assert result.exit_code == 0, result.stderr
    rows = {
        cells[0]: cells
        for cells in (line.split() for line in result.stdout.replace("│", " ").splitlines())
        if cells
    }
    assert rows["B39"][1:6] == ["1", "40×60", "uint16", "23", "16.7%"]
    assert rows["EM"][1] == "1"
    assert rows["TNBC"][1] == rows["B5"][1] == "missing"


def test_errors_are_one_line_and_exit_code_2(two_sets: Path, tmp_path: Path):
    assert_fails(run("--data", str(tmp_path / "nowhere")), "nowhere")
    assert_fails(run("--data", str(two_sets), "--set", "TNBC"), "TNBC is incomplete")
    assert_fails(run("--data", str(two_sets), "--set", "B7"), "no source set 'B7'")
    (tmp_path / "empty").mkdir()
    assert_fails(run("--data", str(tmp_path / "empty")), "none of the source sets")
    (two_sets / "EM" / "images" / "one.png").unlink()
    assert_fails(run("--data", str(two_sets)), "has no image")


def test_list_fetches_nothing_and_fetching_without_a_network_says_so(own_home: Path):
    assert_fails(run("--list"), "no folder")
    assert not (own_home / "sources").exists()
    nowhere = "http://127.0.0.1:9"  # no such proxy: no request leaves this machine
    result = start("--set", "TNBC", HTTPS_PROXY=nowhere, https_proxy=nowhere, NO_PROXY="", no_proxy="")
    assert_one_line_error(result.returncode, result.stderr, "TNBC_NucleiSegmentation.zip")
    assert not (own_home / "sources" / "TNBC").exists()


def test_lists_the_real_sets(source_data: Path):
    result = run("--data", str(source_data))
    assert result.exit_code == 0, result.stderr
    for name in ("B5", "B39", "ssTEM", "EM", "TNBC"):
        assert f" {name} " in result.stdout
    assert "missing" not in result.stdout


# --- own sources --------------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 10:30] = 1
    for stem in "ab":
        for part, pixels in (("images", np.arange(2400, dtype=np.uint16).reshape(40, 60)), ("masks", mask)):
            (tmp_path / "lab" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "lab" / part / f"{stem}.tif")
    return tmp_path / "lab"


def test_own_sources_are_measured(lab: Path, own_home: Path):
    result = run("--sources", str(lab), "--sources", f"again={lab}")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    rows = [line.replace("│", " ").split() for line in result.stdout.splitlines() if "40×60" in line]
    assert [row[:6] for row in rows] == [
        ["lab", "2", "40×60", "uint16", "23", "16.7%"],
        ["again", "2", "40×60", "uint16", "23", "16.7%"],
    ]
    assert "note" not in result.stdout
    assert not (own_home / "sources").exists()  # nothing was downloaded


def test_what_is_wrong_with_own_sources_is_listed(lab: Path):
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(lab / "masks" / "b.tif")
    for stem in "cd":
        Image.fromarray(np.full((40, 60), 9, np.uint8)).save(lab / "images" / f"{stem}.png")
        Image.fromarray(np.eye(40, 60, dtype=np.uint8)).save(lab / "masks" / f"{stem}.png")
    result = run("--sources", str(lab))
    assert_fails(result, "then check again: lab")
    listed = [line for line in result.stdout.splitlines() if line.startswith("lab: ")]
    assert listed == [
        "lab: note: 'masks/b.tif' is empty; its image is not used.",
        "lab: error: 'images/c.png' is constant (every pixel is 9): nothing to see.",
        "lab: error: 'images/d.png' is constant (every pixel is 9): nothing to see.",
        "lab: error: Usable images: 1; at least 2 are needed.",
    ]


def test_own_sources_beside_the_five(two_sets: Path, lab: Path):
    result = run("--data", str(two_sets), "--sources", str(lab))
    assert result.exit_code == 0, result.stderr
    assert " B39 " in result.stdout
    assert " lab " in result.stdout
    assert_fails(run("--sources", str(lab / "nowhere")), "then check again: nowhere")
    assert_fails(run("--sources", f"EM={lab}"), "'EM' is a published set")
