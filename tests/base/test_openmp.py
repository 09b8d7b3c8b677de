"""PyTorch's threads give way to other programs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from napari_fewshot_cells.base.openmp import give_way


def environment(monkeypatch: pytest.MonkeyPatch, **given: str) -> dict[str, str]:
    """What is said to OpenMP after `give_way`, with that said before."""
    said = dict(given)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.environ", said)
    give_way()
    return said


def test_idle_threads_sleep_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    said = environment(monkeypatch)
    assert int(said["GOMP_SPINCOUNT"]) < 100_000
    assert said["OMP_WAIT_POLICY"] == "active"  # or helpers that are more than the cores sleep at once
    assert said["KMP_BLOCKTIME"].isdigit()


@pytest.mark.parametrize("given", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "infinity"}])
def test_what_the_user_has_set_stays(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment(monkeypatch, **given) == given


@pytest.mark.parametrize("program", ["plugin.jobs.preload", "cli.console"])
def test_it_is_said_before_pytorch_is_loaded(program: str) -> None:
    """OpenMP reads it once, as it is loaded."""
    code = (
        f"import sys, napari_fewshot_cells.{program} as program\n"
        "assert program.give_way and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
