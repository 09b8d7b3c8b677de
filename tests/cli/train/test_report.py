"""``napari-fewshot-train report``, run in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from napari_fewshot_cells.experiment.report.results import FineTuning

COMMAND = (sys.executable, "-m", "napari_fewshot_cells.cli.train", "report")


def start(*args: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *(str(arg) for arg in args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def some_results(folder: Path, schedule: str = "cpu") -> Path:
    (folder / "cells").mkdir(parents=True)
    for method, iou in {"transfer": 0.5, "complete": 0.6}.items():
        for selection in range(3):
            row = FineTuning(
                "fcrn", "EM", method, 5, selection, iou + selection / 100, iou, 30.0, schedule, 0, "0123abc",
                "cpu", 10, 150, 600.0, "2026-11-23T10:00:00+00:00", "two cores", "torch 2.13",
            )  # fmt: skip
            (folder / "cells" / f"{row.key}.json").write_text(json.dumps(asdict(row)))
    return folder


def test_two_schedules_with_markdown(tmp_path: Path) -> None:
    folders = [some_results(tmp_path / name, name) for name in ("cpu", "paper")]
    done = start(
        *folders, "--out", tmp_path / "report", "--markdown", tmp_path / "tables.md", "--no-overlays"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    page = tmp_path / "report" / "index.html"
    assert done.stdout.strip() == str(page)
    assert "Schedules compared" in page.read_text()
    tables = (tmp_path / "tables.md").read_text()
    assert "| EM | complete loss | – | – | **0.610 ± 0.010** | – | – | –/–/3/–/– |" in tables
    assert "| EM | transfer learning | – | – | 0.510 ± 0.010 |" in tables
    assert "+0.100 ± 0.000 (3)" in tables


def test_no_results_are_one_line(tmp_path: Path) -> None:
    done = start(tmp_path, "--out", tmp_path / "report")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "no results to report" in line
    assert not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = start(some_results(tmp_path / "cpu"), "--out", tmp_path / "file" / "report")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "cannot be written" in line


def test_help_names_what_is_written() -> None:
    done = start("--help")
    assert done.returncode == 0
    for said in ("--out", "--no-overlays", "--markdown", "RESULTS"):
        assert said in done.stdout
