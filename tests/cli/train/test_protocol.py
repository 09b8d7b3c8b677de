"""``napari-fewshot-train protocol``: a Dask cluster that loses a worker, a stop, and wrong input."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from distributed import Client
from skimage import io
from typer.testing import CliRunner, Result

from napari_fewshot_cells.cli.train.main import app

COMMAND = (sys.executable, "-m", "napari_fewshot_cells.cli.train", "protocol")
TINY = """
base = "cpu"
reptile.episode = {k_shot = 2, inner_steps = 1, crops = 2, other_crops = 1, crop_size = 32}
meta_budget.meta_steps = 2
transfer = {batch = 2, crop_size = 32}
transfer_budget.meta_steps = 2
fine_tuning = {steps = 1, crops = 2, crop_size = 32}
"""


@pytest.fixture
def options(tmp_path: Path, five_sources: Path) -> list[str]:
    """Options that all commands of a test share."""
    (tmp_path / "tiny.toml").write_text(TINY)
    return [
        *("--data", str(five_sources), "--out", str(tmp_path / "out"), "--n-test", "1"),
        *("--schedule", str(tmp_path / "tiny.toml"), "--arch", "fcrn", "--target", "EM"),
    ]


def run(*arguments: str) -> Result:
    """Run the command in this process; for what needs no cluster."""
    return CliRunner().invoke(app, ["protocol", *arguments])


def run_to_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=280, check=False)


def start(*command: str) -> subprocess.Popen[str]:
    """Start a process in a group of its own, which can get a signal as from Ctrl-C in a terminal."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]


def wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def cells(out: Path) -> dict[str, int]:
    """The existing results, and when each was written."""
    return {file.stem: file.stat().st_mtime_ns for file in (out / "cells").glob("*.json")}


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, dict[str, subprocess.Popen[str]]]]:
    """The address of a scheduler, and its two workers by name; each is a process on loopback."""
    file = folder / "scheduler.json"
    scheduler = start(
        *(sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"),
        *("--no-dashboard", "--scheduler-file", str(file)),
    )
    processes = [scheduler]
    try:
        # The scheduler opens its file a moment before it writes to it.
        wait(lambda: file.exists() and file.read_text().endswith("}"), scheduler)
        address = json.loads(file.read_text())["address"]
        workers = {
            name: start(
                *(sys.executable, "-m", "distributed.cli.dask_worker", address, "--name", name),
                *("--nthreads", "1", "--memory-limit", "0", "--no-nanny", "--no-dashboard"),
            )
            for name in ("one", "two")
        }
        processes.extend(workers.values())
        yield address, workers
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_every_cell_is_there_once_although_a_worker_is_killed(tmp_path: Path, options: list[str]):
    methods, k_shots = ("complete", "bce"), ("1", "5", "10")
    options += [*(word for m in methods for word in ("--method", m)), "--selections", "2"]
    options += [word for k in k_shots for word in ("--k-shot", k)]
    out = tmp_path / "out"
    result = run(*options, "--dry-run")
    assert "would run 2 of 2 trainings and 12 of 12 fine-tunings by the schedule 'tiny.toml'" in result.stdout
    assert not out.exists()
    with cluster(tmp_path) as (address, workers), Client(address) as client:
        client.wait_for_workers(2)
        matrix = start(*COMMAND, *options, "--scheduler", address)
        wait(lambda: len(cells(out)) >= 2, matrix)
        names = {key: worker["name"] for key, worker in client.scheduler_info()["workers"].items()}
        busy = next(names[key] for key, jobs in client.processing().items() if jobs)
        workers[busy].kill()  # SIGKILL
        before = cells(out)
        stdout, stderr = matrix.communicate(timeout=240)
        assert matrix.returncode == 0, stderr
        assert workers.pop(busy).wait(timeout=10) == -signal.SIGKILL
        assert next(iter(workers.values())).poll() is None
    expected = {
        f"fcrn-EM-{method}-k{k}-s{s}" for method, k, s in itertools.product(methods, k_shots, range(2))
    }
    assert 2 <= len(before) < 12, "the worker was to be killed in the middle"
    assert set(cells(out)) == expected
    assert before.items() <= cells(out).items(), "a result was made again"
    with (out / "results.csv").open(newline="") as file:
        rows = [f"fcrn-EM-{r['method']}-k{r['k_shot']}-s{r['selection']}" for r in csv.DictReader(file)]
    assert sorted(rows) == sorted(expected)
    assert stdout.strip() == str(out / "results.csv")
    assert "14/14" in stderr
    assert "Traceback" not in stderr
    result = run(*options, "--dry-run")
    assert "trained            6 of 6" in result.stdout
    assert "would run 0 of 2 trainings and 0 of 12 fine-tunings" in result.stdout


def test_stopped_by_ctrl_c_it_goes_on_where_it_was(tmp_path: Path, options: list[str]):
    options += ["--method", "transfer", "--selections", "2", "--workers", "1"]
    out = tmp_path / "out"
    stopped = start(*COMMAND, *options)
    try:
        wait(lambda: len(cells(out)) >= 2, stopped)
        os.killpg(stopped.pid, signal.SIGINT)
        _, stderr = stopped.communicate(timeout=120)
    finally:
        stopped.kill()  # if the signal did not end it
    assert stopped.returncode == 130, stderr
    assert stderr.strip().splitlines()[-1] == "stopped: run the same command to resume"
    assert "Traceback" not in stderr
    before = cells(out)
    assert 2 <= len(before) < 10
    result = run_to_end(*options)
    assert result.returncode == 0, result.stderr
    assert len(cells(out)) == 10
    assert before.items() <= cells(out).items()
    other = run(*options, "--seed", "1")
    assert other.exit_code == 2
    assert "with seed 0 and 1 test images, which are not these" in other.stderr


def test_what_fails_is_said_at_the_end(tmp_path: Path, options: list[str], five_sources: Path):
    data = tmp_path / "data"
    shutil.copytree(five_sources, data)
    io.imsave(data / "B39" / "images" / "3.png", np.full((96, 96), 7, np.uint8), check_contrast=False)
    options[1] = str(data)
    result = run_to_end(*options, "--target", "B39", "--method", "bce", "--k-shot", "1", "--workers", "1")
    assert result.returncode == 1
    lines = result.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    # EM's start cannot read its source B39; B39's own start is trained, but none of its cells can be read
    assert errors[0].startswith("error: fcrn-EM-bce: '3.png' is constant")
    assert "Traceback" not in result.stderr
    assert errors[-1].endswith("failed or could not run; run the same command to try again.")
    assert (tmp_path / "out" / "starts" / "fcrn-B39-bce" / "model.safetensors").exists()


def test_other_networks_than_the_papers_are_asked_for(options: list[str]):
    common = [word for word in options if word not in ("--arch", "fcrn")]
    for more, expected in (((), {"fcrn", "unet"}), (("--arch", "half-unet"), {"half-unet"})):
        result = CliRunner().invoke(app, ["protocol", *common, *more, "--method", "bce", "--dry-run"])
        assert result.exit_code == 0, result.stderr
        starts = [line.split()[0] for line in result.stdout.splitlines()[:-1]]
        assert {start.removesuffix("-EM-bce") for start in starts} == expected


def _impatient(client: type[Client], address: str, **options: object) -> Client:
    """A client that does not wait five seconds for a scheduler."""
    return client(address, **options | {"timeout": 0.2})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--method", "best"], "There is no method 'best'; choose from transfer, bce"),
        (["--arch", "vit"], "There is no network 'vit'; choose from fcrn, unet"),
        (["--target", "B7"], "There is no source set 'B7'"),
        (["--schedule", "fast"], "There is no schedule 'fast'"),
        (["--scheduler", "tcp://127.0.0.1:9"], "No Dask scheduler answers at 'tcp://127.0.0.1:9'"),
        (["--device", "abacus"], "There is no device 'abacus'"),
    ],
)
def test_errors_are_one_line(
    options: list[str], wrong: list[str], message: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("distributed.Client", partial(_impatient, Client))
    result = run(*options, *wrong)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith(f"error: {message}")
