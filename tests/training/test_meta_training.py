"""Runs: checkpoints that go on bit for bit, curves, and what Ctrl-C leaves."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from napari_fewshot_cells.errors import ModelError
from napari_fewshot_cells.models import read_model
from napari_fewshot_cells.progress import finish
from napari_fewshot_cells.training.meta_training import (
    CURVES,
    CURVES_FILE,
    MODEL_FILE,
    Budget,
    meta_train,
    new_card,
)
from napari_fewshot_cells.training.reptile import ReptileConfig
from napari_fewshot_cells.training.tasks import EpisodeShape

CONFIG = ReptileConfig(episode=EpisodeShape(2, 2, 2, 1, 32), seed=1)


def run(folder, sources, tasks, meta_steps, config=CONFIG):
    card = new_card("fcrn", sources, config, command="napari-fewshot-train meta", device="cpu")
    return finish(meta_train(folder, card, tasks, config, Budget(meta_steps=meta_steps)))


def assert_same_weights(one, other):
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), name


def rows(folder):
    with (folder / CURVES_FILE).open() as file:
        return list(csv.DictReader(file))


def test_a_resumed_run_ends_where_an_unbroken_one_does_bit_for_bit(tmp_path, sources, tasks):
    whole = run(tmp_path / "whole", sources, tasks, 3)
    run(tmp_path / "parts", sources, tasks, 1)
    parts = run(tmp_path / "parts", sources, tasks, 3)
    assert_same_weights(whole, parts)
    assert [r["bce"] for r in rows(tmp_path / "whole")] == [r["bce"] for r in rows(tmp_path / "parts")]


def test_curves_hold_every_loss_term_of_every_task(tmp_path, sources, tasks):
    run(tmp_path, sources, tasks, 2)
    table = rows(tmp_path)
    assert tuple(table[0]) == CURVES
    assert [(r["iteration"], r["task"]) for r in table] == [
        ("1", "B39"),
        ("1", "EM"),
        ("2", "B39"),
        ("2", "EM"),
    ]
    assert all(float(r[term]) > 0 for r in table for term in ("bce", "entropy", "distillation"))


def test_interrupted_in_the_middle_of_an_iteration(tmp_path, sources, tasks):
    card = new_card("fcrn", sources, CONFIG, command="", device="cpu")
    steps = meta_train(tmp_path, card, tasks, CONFIG, Budget(meta_steps=5))
    for _ in range(3):  # one task into the second iteration
        next(steps)
    steps.close()
    assert read_model(tmp_path / MODEL_FILE).card.hyper_parameters["iterations"] == 1
    resumed = run(tmp_path, sources, tasks, 2)
    assert_same_weights(resumed, run(tmp_path / "unbroken", sources, tasks, 2))
    assert len(rows(tmp_path)) == 4


def test_curves_beyond_the_checkpoint_are_run_again(tmp_path, sources, tasks):
    run(tmp_path, sources, tasks, 1)
    with (tmp_path / CURVES_FILE).open("a") as file:
        file.write("2,9.9,B39,1,1,1,1\n")  # a killed process wrote curves, but no checkpoint yet
    run(tmp_path, sources, tasks, 2)
    assert len(rows(tmp_path)) == 4


def test_other_settings_in_the_same_folder(tmp_path, sources, tasks):
    run(tmp_path, sources, tasks, 1)
    with pytest.raises(ModelError, match="trained with other settings"):
        run(tmp_path, sources, tasks, 2, ReptileConfig(alpha=0.5, episode=CONFIG.episode, seed=1))


def test_the_card_names_sources_licences_and_settings(tmp_path, sources, tasks):
    card = run(tmp_path, sources, tasks, 1).card
    assert [s["name"] for s in card.sources] == ["B39", "EM"]
    assert all(s["licence"] and s["citation"] for s in card.sources)
    assert card.hyper_parameters["alpha"] == 0.01
    assert card.hyper_parameters["k_shot"] == 2
    assert card.commit
    assert card.date
    assert card.machine


COMMAND = [sys.executable, "-m", "napari_fewshot_cells.cli.train", "meta"]
TINY = ["--k-shot", "2", "--inner-steps", "1", "--crops", "1", "--crop-size", "32"]


def cli(*arguments, **options):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=240, **options)


def test_command_line(tmp_path, sources, two_sources):
    # three of the five sets are not there
    result = cli("--data", str(two_sources), "--out", str(tmp_path / "x"), "--meta-steps", "1")
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr
    result = cli("--data", str(tmp_path / "none"), "--out", str(tmp_path / "x"), "--meta-steps", "1")
    assert result.returncode == 2
    assert "none" in result.stderr
    result = cli("--out", str(tmp_path / "x"))
    assert result.returncode == 2
    assert "--meta-steps or --minutes" in result.stderr


def test_command_line_on_real_sources_and_ctrl_c(tmp_path, source_data):
    out = tmp_path / "run"
    arguments = ["--data", str(source_data), "--target", "B5", "--out", str(out), *TINY]
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--meta-steps", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 200
    while not (out / CURVES_FILE).exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    model = read_model(out / MODEL_FILE)
    done = model.card.hyper_parameters["iterations"]
    assert done >= 1
    assert [s["name"] for s in json.loads((out / "model.json").read_text())["sources"]] == [
        "B39",
        "ssTEM",
        "EM",
        "TNBC",
    ]
    resumed = cli(*arguments, "--meta-steps", str(done + 1))
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.strip().endswith("model.safetensors")
    assert read_model(out / MODEL_FILE).card.hyper_parameters["iterations"] == done + 1
