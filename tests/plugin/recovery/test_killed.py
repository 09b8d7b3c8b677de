"""What is on the disk after kill -9 while napari paints, trains and saves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tifffile

from napari_fewshot_cells.data.fingerprint import fingerprint
from napari_fewshot_cells.projects.label_files import read_labels
from napari_fewshot_cells.projects.project import read_project
from napari_fewshot_cells.projects.recovery import recoveries

SCRIPT = Path(__file__).with_name("session_to_kill.py")
MOST_LOST = 5.0  # s
PAINTING = 7.0  # s before the kill, so that several copies have been written
STROKES_EVERY = 0.05  # s; as in session_to_kill.py
START_UP = 250.0  # s, the longest that napari may take


class Victim:
    """A napari session in another process."""

    def __init__(self, mode: str, folder: Path) -> None:
        self.home, self.project, self.lines = folder / "home", folder / "project", folder / "lines"
        self._out = self.lines.open("w")
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), mode, str(self.project)],
            env={**os.environ, "NAPARI_FEWSHOT_HOME": str(self.home)},
            stdout=self._out,
            stderr=subprocess.STDOUT,
        )

    def said(self, word: str) -> list[list[str]]:
        return [line.split() for line in self.lines.read_text().splitlines() if line.startswith(word)]

    def wait_for(self, word: str, number: int = 1) -> None:
        deadline = time.monotonic() + START_UP
        while len(self.said(word)) < number:
            assert self._process.poll() is None, self.lines.read_text()
            assert time.monotonic() < deadline, self.lines.read_text()
            time.sleep(0.02)

    def kill(self) -> float:
        """Kill the process; return the time."""
        when = time.time()
        self._process.kill()
        self._process.wait()
        self._out.close()
        return when


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("mode", ["train", "save"])
def test_at_most_five_seconds_of_painting_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    victim = Victim(mode, tmp_path)
    victim.wait_for("painted")
    victim.wait_for("training" if mode == "train" else "saved", 1 if mode == "train" else 3)
    time.sleep(PAINTING)
    killed = victim.kill()

    monkeypatch.setenv("NAPARI_FEWSHOT_HOME", str(victim.home))
    (offered,) = recoveries()
    (record,) = offered.project.labels
    labels, problems = read_labels(offered.folder / record.file, record.shape, record.dtype)
    assert not problems
    times = {int(number): float(when) for _, number, when in victim.said("painted")}
    last = int(labels.max())
    lost = killed - min([when for number, when in times.items() if number > last], default=killed)
    print(f"{mode}: {len(times)} strokes, {lost:.2f} s lost")
    if last < len(labels) - 1:  # else the strokes started again from the top
        assert all((labels[number] == number).all() for number in times if number < last)

    if mode == "save":
        project = read_project(victim.project)
        (image,), (saved,) = project.images, project.labels
        assert image.copy is not None
        assert fingerprint(tifffile.imread(victim.project / image.copy)) == image.fingerprint
        labels, problems = read_labels(victim.project / saved.file, saved.shape, saved.dtype)
        assert not problems
        assert labels.max() > 1

    # If the machine was too busy for the session to paint, it was also too busy to write the copy
    lately = sum(killed - when < PAINTING for when in times.values())
    if lost > MOST_LOST and lately < PAINTING / STROKES_EVERY / 2:
        pytest.skip(f"the machine is too busy to tell: {lately} strokes in {PAINTING:.0f} s")
    assert lost <= MOST_LOST
