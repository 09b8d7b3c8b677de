"""``napari-fewshot-train evaluate``: its rows are right, survive a kill, and are never mixed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage import io
from typer.testing import CliRunner

from napari_fewshot_cells.cli.train.evaluate import method_of
from napari_fewshot_cells.cli.train.main import app
from napari_fewshot_cells.experiment.report.results import read_results
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.model_file import read_model, write_model
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.simulate import fluorescent_cells

N_IMAGES = 12
COMMAND = [sys.executable, "-c", "from napari_fewshot_cells.cli.train.main import main; main()", "evaluate"]
QUICK = """
base = "cpu"
[fine_tuning]
steps = 2
crops = 2
crop_size = 32
"""
PAPER = """
base = "paper"
[fine_tuning]
epochs = 1
batch = 4
crop_size = 64
stride = 32
min_foreground = 20
"""
CARD = ModelCard(
    "fcrn-B5",
    "fcrn",
    sources=({"name": "B5"},),
    hyper_parameters={"alpha": 0.0, "beta": 0.01, "iterations": 7, "seconds": 3.5},
    batch_norm="image",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Folder of source sets that holds a simulated EM."""
    folder = tmp_path_factory.mktemp("data")
    for kind in ("images", "masks"):
        (folder / "EM" / kind).mkdir(parents=True)
    for seed in range(N_IMAGES):
        image, labels = fluorescent_cells((72, 80), seed=seed)
        name = f"test_{seed + 1:03d}.png"
        io.imsave(folder / "EM" / "images" / name, image, check_contrast=False)
        mask = ((labels > 0) * 255).astype(np.uint8)
        io.imsave(folder / "EM" / "masks" / name, mask, check_contrast=False)
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """Folder as a meta-training leaves it."""
    folder = tmp_path_factory.mktemp("run")
    write_model(Model(CARD, build_network("fcrn", 0)), folder / "model.safetensors")
    return folder


@pytest.fixture
def schedule(tmp_path) -> Path:
    path = tmp_path / "quick.toml"
    path.write_text(QUICK)
    return path


@pytest.fixture
def evaluate(data, run_folder, schedule, tmp_path):
    def run(*more, target="EM", start=run_folder, out=tmp_path / "out.csv"):
        arguments = [start, "--target", target, "--data", data, "--schedule", schedule, "--out", out, *more]
        return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])

    return run


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def assert_one_line(result, *words):
    assert result.exit_code == 2, result.output
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    for word in words:
        assert word in line


def test_a_row_for_every_selection_and_k_and_the_means(evaluate, tmp_path):
    result = evaluate("--k-shot", 1, "--k-shot", 3, "--selections", 2, "--n-test", 1)
    assert result.exit_code == 0, result.stderr
    table = rows(tmp_path / "out.csv")
    assert [(row["selection"], row["k_shot"]) for row in table] == [
        ("0", "1"),
        ("0", "3"),
        ("1", "1"),
        ("1", "3"),
    ]
    first = table[0]
    assert (first["arch"], first["target"], first["method"]) == ("fcrn", "EM", "bce+d")
    assert (first["schedule"], first["n_test"], first["seed"]) == ("quick.toml", "1", "0")
    assert (first["iterations"], first["train_seconds"], first["device"]) == ("7", "3.5", "cpu")
    for k_shot in "13":
        ious = [float(row["iou"]) for row in table if row["k_shot"] == k_shot]
        assert f"{np.mean(ious):.4f} ± {np.std(ious, ddof=1):.4f}" in result.stdout
    assert [row.iou for row in read_results([tmp_path / "out.csv"]).rows if row.k_shot == 3] == ious


def test_what_is_there_is_not_run_again(evaluate, tmp_path):
    evaluate("--k-shot", 1, "--selections", 1, "--n-test", 1)
    table = rows(tmp_path / "out.csv")
    path = tmp_path / "out.csv"
    path.write_text(path.read_text().replace(table[0]["date"], "kept"))
    result = evaluate("--k-shot", 1, "--k-shot", 3, "--selections", 1, "--n-test", 1)
    assert result.exit_code == 0, result.stderr
    assert [row["date"] == "kept" for row in rows(path)] == [True, False]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--n-test", 2], "test images"),
        (["--n-test", 1, "--seed", 1], "seed"),
        (["--n-test", 1, "--schedule", "cpu"], "schedule, fine-tuning"),
        (["--n-test", 1, "--batch-norm", "image"], "schedule, fine-tuning"),
    ],
)
def test_rows_of_other_settings_are_never_mixed(evaluate, more, named):
    evaluate("--k-shot", 1, "--selections", 1, "--n-test", 1)
    assert_one_line(evaluate("--k-shot", 1, "--selections", 2, *more), f"another {named};")


def test_rows_of_another_start_are_never_mixed(evaluate, run_folder, tmp_path):
    evaluate("--k-shot", 1, "--selections", 1, "--n-test", 1)
    other = read_model(run_folder / "model.safetensors")
    other = replace(other, card=replace(other.card, seed=1))
    file = write_model(other, tmp_path / "other")
    assert_one_line(evaluate("--k-shot", 1, "--selections", 1, "--n-test", 1, start=file), "another start;")


def test_rows_without_settings_beside_them(evaluate, tmp_path):
    evaluate("--k-shot", 1, "--selections", 1, "--n-test", 1)
    (tmp_path / "out.json").unlink()
    assert_one_line(evaluate("--k-shot", 1), "'out.json'")


@pytest.mark.parametrize("batch_norm", ["support", "image", "running"])
@pytest.mark.parametrize("text", [QUICK, PAPER])
def test_either_recipe_with_any_statistics(evaluate, schedule, tmp_path, text, batch_norm):
    schedule.write_text(text)
    result = evaluate("--k-shot", 1, "--selections", 1, "--n-test", 1, "--batch-norm", batch_norm)
    assert result.exit_code == 0, result.stderr
    default = "support" if text == QUICK else "image"
    name = "quick.toml" if batch_norm == default else f"quick.toml, {batch_norm} statistics"
    assert rows(tmp_path / "out.csv")[0]["schedule"] == name
    settings = json.loads((tmp_path / "out.json").read_text())
    assert settings["fine-tuning"]["batch_norm"] == batch_norm
    assert ("epochs" in settings["fine-tuning"]) == (text == PAPER)


def test_published_selections_and_what_they_lack(evaluate, tmp_path):
    file = tmp_path / "published.json"
    file.write_text(
        json.dumps({"EM": {"1": {"1": ["xaac"], "2": ["xabz"]}, "3": {"1": ["xaaa", "xaab", "xaac"]}}})
    )
    result = evaluate("--k-shot", 1, "--k-shot", 3, "--selections", file, "--n-test", 1)
    assert result.exit_code == 0, result.stderr
    assert "note: selection 2 of K = 1 is skipped: EM here has no xabz." in result.stderr
    assert [(row["selection"], row["k_shot"]) for row in rows(tmp_path / "out.csv")] == [
        ("1", "1"),
        ("1", "3"),
    ]
    assert {row["schedule"] for row in rows(tmp_path / "out.csv")} == {"quick.toml, selections of published"}


def test_a_folder_of_ones_own_as_the_target(evaluate, data, tmp_path):
    result = evaluate("--k-shot", 1, "--selections", 1, "--n-test", 1, target=f"mine={data / 'EM'}")
    assert result.exit_code == 0, result.stderr
    assert rows(tmp_path / "out.csv")[0]["target"] == "mine"


def test_a_start_that_has_seen_the_target(evaluate, run_folder, tmp_path):
    seen = read_model(run_folder / "model.safetensors")
    seen = replace(seen, card=replace(seen.card, sources=({"name": "EM"},)))
    result = evaluate(
        "--k-shot", 1, "--selections", 1, "--n-test", 1, start=write_model(seen, tmp_path / "seen")
    )
    assert result.exit_code == 0
    assert "was trained on EM" in result.stderr


def test_what_cannot_be_evaluated_is_one_line(evaluate, run_folder, tmp_path):
    assert_one_line(evaluate(target="TNBC"), "TNBC is incomplete")
    assert_one_line(evaluate(target="nowhere"), "no target 'nowhere'; choose from B5")
    assert_one_line(evaluate(start=tmp_path / "nowhere"), "nowhere")
    assert_one_line(evaluate("--selections", tmp_path / "none.json"), "cannot be read")
    assert_one_line(evaluate("--schedule", "gpu"), "no schedule 'gpu'")
    assert_one_line(evaluate("--device", "tpu"), "no device 'tpu'")
    assert_one_line(evaluate(out=tmp_path / "out.json"), "must end in .csv")
    tuned = read_model(run_folder / "model.safetensors")
    tuned = write_model(replace(tuned, card=replace(tuned.card, k_shot=3)), tmp_path / "tuned")
    assert_one_line(evaluate(start=tuned), "is fine-tuned already")


def test_the_method_by_the_card():
    def method(**values):
        return method_of(replace(CARD, hyper_parameters=values))

    assert method(alpha=0.01, beta=0.01) == "complete"
    assert method(alpha=0, beta=0) == "bce"
    assert method(alpha=0.1, beta=0.0) == "bce+er"
    assert method(alpha=0.5, beta=0.0) == "alpha 0.5 beta 0"
    assert method(batch=64) == "transfer"
    assert method(by_set=False, balance=1.0) == "transfer"
    assert method(by_set=True, balance=0.5) == "transfer by set balance 0.5"
    begun = replace(CARD, parent="lab", hyper_parameters={"alpha": 0.01, "beta": 0.01})
    assert method_of(begun) == "complete after lab"


def test_a_killed_run_goes_on_where_it_was(evaluate, data, run_folder, schedule, tmp_path):
    out = tmp_path / "out.csv"
    arguments = [run_folder, "--target", "EM", "--data", data, "--schedule", schedule, "--out", out]
    few = ("--k-shot", "1", "--n-test", "1")
    command = [*COMMAND, *map(str, arguments), *few, "--threads", "1", "--selections", "400"]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    run = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    end = time.monotonic() + 100
    while not out.exists() and run.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    before = rows(out)
    assert 0 < len(before) < 400
    again = evaluate(*few, "--selections", len(before) + 1)
    assert again.exit_code == 0, again.stderr
    assert rows(out)[:-1] == before
    assert str(out) in again.stdout
