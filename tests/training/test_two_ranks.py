"""One meta-training on several ranks, started by torchrun as users do."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest
import torch
from typer.testing import CliRunner

from napari_fewshot_cells.cli.train.main import app
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.training.config import MODEL_FILE
from napari_fewshot_cells.training.meta_training import CURVES_FILE

TRAIN = ["-m", "napari_fewshot_cells.cli.train"]
TINY = ["--k-shot", "2", "--inner-steps", "1", "--crops", "1", "--crop-size", "32", "--threads", "1"]


@pytest.fixture(scope="module")
def three_sources(two_sources, tmp_path_factory):
    """Options for three sources, so that two ranks have unequal shares."""
    folder = tmp_path_factory.mktemp("own")
    for name, of in {"nuclei": "B39", "mitochondria": "EM", "more": "B39"}.items():
        shutil.copytree(two_sources / of, folder / name)
    return [option for name in sorted(os.listdir(folder)) for option in ("--sources", str(folder / name))]


def torchrun(ranks):
    return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]


def train(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=240)


@pytest.fixture
def resume():
    """Runs the command in this process, as one rank."""
    threads = torch.get_num_threads()
    yield lambda *arguments: CliRunner().invoke(app, arguments)
    torch.set_num_threads(threads)


def weights(folder):
    state = read_model(folder / MODEL_FILE).network.state_dict()
    return torch.cat([value.flatten().double() for value in state.values()])


def rows(folder):
    with (folder / CURVES_FILE).open() as file:
        table = [(int(r["iteration"]), r["task"], float(r["bce"])) for r in csv.DictReader(file)]
    return sorted(table)


@pytest.fixture(scope="module")
def one_rank(three_sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("one")
    result = train(*TRAIN, "meta", *three_sources, *TINY, "--out", str(out), "--meta-steps", "2")
    assert result.returncode == 0, result.stderr
    return out


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_give_what_one_rank_gives(tmp_path, three_sources, one_rank, ranks):
    out = tmp_path / "out"
    arguments = [*TRAIN, "meta", *three_sources, *TINY, "--out", str(out), "--meta-steps", "2"]
    result = train(*torchrun(ranks), *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(out / MODEL_FILE)]  # only one rank prints it
    assert f"{ranks} ranks" in read_model(out / MODEL_FILE).card.machine
    assert torch.equal(weights(out), weights(one_rank))  # every rank has one thread, as the single one had
    assert rows(out) == rows(one_rank)


@contextmanager
def two_ranks(arguments, out):
    """An endless run that has written two iterations of three sources."""
    process = subprocess.Popen(
        [sys.executable, *torchrun(2), *TRAIN, *arguments, "--meta-steps", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 200
    try:
        while not ((out / CURVES_FILE).exists() and len(rows(out)) >= 6) and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()  # if the test did not end it; torchrun ends its ranks


def test_the_death_of_a_rank_ends_the_others_and_keeps_the_last_complete_iteration(
    tmp_path, resume, three_sources
):
    out = tmp_path / "out"
    arguments = ["meta", *three_sources, *TINY, "--out", str(out)]
    with two_ranks(arguments, out) as process:
        children = psutil.Process(process.pid).children()
        (rank_1,) = [child for child in children if child.environ().get("RANK") == "1"]
        rank_1.kill()
        process.communicate(timeout=90)
    assert process.returncode != 0
    done = read_model(out / MODEL_FILE).card.hyper_parameters["iterations"]
    assert done >= 2
    resumed = resume(*arguments, "--meta-steps", str(done + 1))
    assert resumed.exit_code == 0, resumed.stderr
    assert read_model(out / MODEL_FILE).card.hyper_parameters["iterations"] == done + 1
    assert len(rows(out)) == 3 * (done + 1)


def test_a_signal_ends_all_ranks_and_keeps_the_last_complete_iteration(tmp_path, resume, three_sources):
    out = tmp_path / "out"
    arguments = ["meta", *three_sources, *TINY, "--out", str(out)]
    with two_ranks(arguments, out) as process:
        process.terminate()
        _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    assert stderr.count("Stopped; the last complete iteration is in") == 1
    done = read_model(out / MODEL_FILE).card.hyper_parameters["iterations"]
    assert done == rows(out)[-1][0] >= 2
    resumed = resume(*arguments, "--meta-steps", str(done + 1))  # the number of ranks may change
    assert resumed.exit_code == 0, resumed.stderr
    assert len(rows(out)) == 3 * (done + 1)
