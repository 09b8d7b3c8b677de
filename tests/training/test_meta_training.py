"""Runs: they resume bit for bit, write learning curves, and leave whole files after Ctrl-C."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from napari_fewshot_cells.base.errors import DataError, ModelError
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.cli.train.main import app
from napari_fewshot_cells.datasets.five_sets import SOURCE_NAMES
from napari_fewshot_cells.models.model_file import read_model, write_model
from napari_fewshot_cells.training import meta_training
from napari_fewshot_cells.training.budget import Budget
from napari_fewshot_cells.training.config import MODEL_FILE, EpisodeShape, ReptileConfig, TransferConfig
from napari_fewshot_cells.training.meta_training import CURVES, CURVES_FILE, meta_train, new_card
from napari_fewshot_cells.training.transfer import new_transfer_card, transfer_train

CONFIG = ReptileConfig(episode=EpisodeShape(2, 2, 2, 1, 32), seed=1)


def run(folder, sources, tasks, meta_steps, config=CONFIG, start=None):
    card = new_card("fcrn", sources, config, command="napari-fewshot-train meta", device="cpu")
    return finish(meta_train(folder, card, tasks, config, Budget(meta_steps=meta_steps), start=start))


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
    for _ in range(3):  # until the first task of the second iteration
        next(steps)
    steps.close()
    assert read_model(tmp_path / MODEL_FILE).card.hyper_parameters["iterations"] == 1
    resumed = run(tmp_path, sources, tasks, 2)
    assert_same_weights(resumed, run(tmp_path / "unbroken", sources, tasks, 2))
    assert len(rows(tmp_path)) == 4


@pytest.mark.parametrize("written", [False, True])
def test_interrupted_at_the_curves(tmp_path, interrupted_at_second_rows, sources, tasks, written):
    """If Ctrl-C comes before or after the second rows, rows and weights are of the same iterations."""
    with interrupted_at_second_rows(meta_training, written), pytest.raises(KeyboardInterrupt):
        run(tmp_path, sources, tasks, 3)
    assert read_model(tmp_path / MODEL_FILE).card.hyper_parameters["iterations"] == 1
    assert {int(row["iteration"]) for row in rows(tmp_path)} == {1}
    assert_same_weights(run(tmp_path, sources, tasks, 2), run(tmp_path / "unbroken", sources, tasks, 2))
    assert len(rows(tmp_path)) == 4


def test_curves_beyond_the_checkpoint_are_run_again(tmp_path, sources, tasks):
    run(tmp_path, sources, tasks, 1)
    with (tmp_path / CURVES_FILE).open("a") as file:
        file.write("2,9.9,B39,1,1,1,1\n")  # a killed process has written curves, but no checkpoint
    run(tmp_path, sources, tasks, 2)
    assert len(rows(tmp_path)) == 4


def test_other_settings_in_the_same_folder(tmp_path, sources, tasks):
    run(tmp_path, sources, tasks, 1)
    with pytest.raises(ModelError, match="trained with other settings"):
        run(tmp_path, sources, tasks, 2, ReptileConfig(alpha=0.5, episode=CONFIG.episode, seed=1))


def test_a_run_may_end_with_a_smaller_epsilon(tmp_path, sources, tasks):
    before = run(tmp_path, sources, tasks, 1)
    after = run(tmp_path, sources, tasks, 2, replace(CONFIG, meta_lr=0.0))
    assert_same_weights(before, after)  # it took no step
    assert after.card.hyper_parameters["meta_lr"] == 0
    assert after.card.hyper_parameters["iterations"] == 2


def test_the_card_names_sources_licences_and_settings(tmp_path, sources, tasks):
    card = run(tmp_path, sources, tasks, 1).card
    assert [s["name"] for s in card.sources] == ["B39", "EM"]
    assert all(s["licence"] and s["citation"] for s in card.sources)
    assert card.hyper_parameters["alpha"] == 0.01
    assert card.hyper_parameters["k_shot"] == 2
    assert card.commit
    assert card.date
    assert card.machine


def test_an_older_checkpoint_goes_on_although_it_knows_fewer_settings(tmp_path, sources, tasks):
    whole = run(tmp_path / "whole", sources, tasks, 2)
    model = run(tmp_path / "parts", sources, tasks, 1)
    newer = ("entropy", "distillation", "allow_same", "anneal")
    known = {k: v for k, v in model.card.hyper_parameters.items() if k not in newer}
    older = replace(model, card=replace(model.card, hyper_parameters=known))
    write_model(older, tmp_path / "parts" / MODEL_FILE)
    with pytest.raises(ModelError, match="trained with other settings"):
        run(tmp_path / "parts", sources, tasks, 2, replace(CONFIG, entropy="full"))
    assert_same_weights(whole, run(tmp_path / "parts", sources, tasks, 2))


def test_share_of_a_budget():
    assert Budget().share(10**6, 1e9) == 0
    assert Budget(meta_steps=4).share(1, 1e9) == 0.25
    assert Budget(minutes=2).share(99, 30) == 0.25
    assert Budget(meta_steps=4, minutes=2).share(1, 60) == 0.5
    assert Budget(meta_steps=0).is_spent(0, 0)
    assert Budget(minutes=0).is_spent(0, 0)
    assert not Budget(meta_steps=3).is_spent(2, 0)
    assert Budget(meta_steps=3).is_spent(3, 0)


def test_an_annealed_run_resumes_bit_for_bit(tmp_path, sources, tasks):
    annealed = replace(CONFIG, anneal=True)
    whole = run(tmp_path / "whole", sources, tasks, 3, annealed)
    card = new_card("fcrn", sources, annealed, command="", device="cpu")
    steps = meta_train(tmp_path / "parts", card, tasks, annealed, Budget(meta_steps=3))
    for _ in range(5):  # into the third iteration
        next(steps)
    steps.close()
    assert_same_weights(whole, run(tmp_path / "parts", sources, tasks, 3, annealed))
    unlike = run(tmp_path / "constant", sources, tasks, 3)
    assert not torch.equal(unlike.network.head.weight, whole.network.head.weight)


def start_of(folder, sources, tasks):
    """A start from a short transfer learning."""
    config = TransferConfig(batch=2, crop_size=32)
    card = new_transfer_card("fcrn", sources, config, command="", device="cpu")
    return finish(transfer_train(folder, card, tasks, config, Budget(meta_steps=1)))


def test_a_run_begins_with_the_weights_of_another(tmp_path, sources, tasks):
    start = start_of(tmp_path / "transfer", sources, tasks)
    kept = {name: value.clone() for name, value in start.network.state_dict().items()}
    assert_same_weights(start, run(tmp_path / "none", sources, tasks, 0, start=start))
    whole = run(tmp_path / "whole", sources, tasks, 2, start=start)
    run(tmp_path / "parts", sources, tasks, 1, start=start)
    assert_same_weights(whole, run(tmp_path / "parts", sources, tasks, 2, start=start))
    assert whole.card.parent == start.card.name
    assert start.card.name in whole.card.notes
    for name, value in kept.items():
        assert torch.equal(value, start.network.state_dict()[name])
    with pytest.raises(ModelError, match="trained with other settings"):
        run(tmp_path / "parts", sources, tasks, 3)


def test_a_start_that_does_not_fit(tmp_path, sources, tasks):
    start = start_of(tmp_path / "transfer", sources, tasks)
    plain = replace(CONFIG, alpha=0, beta=0)
    with pytest.raises(DataError, match="was trained on EM too, which this run leaves out"):
        run(tmp_path / "run", sources[:1], tasks[:1], 1, plain, start=start)
    other = replace(start, card=replace(start.card, architecture="unet"))
    with pytest.raises(ModelError, match="is a unet, not a fcrn; add --arch unet"):
        run(tmp_path / "run", sources, tasks, 1, start=other)
    assert not (tmp_path / "run").exists()


def test_one_source_is_enough_without_the_other_losses(tmp_path, sources, tasks):
    plain = replace(CONFIG, alpha=0, beta=0)
    card = run(tmp_path, sources[:1], tasks[:1], 1, plain).card
    assert "(Reptile with L_BCE)" in card.notes
    assert rows(tmp_path)[0]["entropy"] == rows(tmp_path)[0]["distillation"] == "0.000000"
    with pytest.raises(DataError, match="at least two source sets"):
        run(tmp_path / "complete", sources[:1], tasks[:1], 1)


def test_the_card_says_precision_and_the_run_keeps_float32(tmp_path, sources, tasks):
    card = new_card("fcrn", sources, CONFIG, command="", device="cpu")
    model = finish(
        meta_train(tmp_path, card, tasks, CONFIG, Budget(meta_steps=1), device="auto", precision="bf16-mixed")
    )
    assert model.card.machine.endswith(", bf16-mixed")
    assert model.network.head.weight.dtype == torch.float32


COMMAND = [sys.executable, "-m", "napari_fewshot_cells.cli.train", "meta"]
TINY = ["--k-shot", "2", "--inner-steps", "1", "--crops", "1", "--crop-size", "32"]


def cli(*arguments):
    """The command, in this process."""
    return CliRunner().invoke(app, ["meta", *map(str, arguments)])


@pytest.fixture(scope="module")
def own(two_sources):
    return ["--sources", f"nuclei={two_sources / 'B39'}", "--sources", f"organelles={two_sources / 'EM'}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--meta-steps or --minutes"),
        (["--meta-steps", "1", "--device", "tpu"], "choose auto, cpu, cuda or mps"),
        (["--meta-steps", "1", "--data", "none"], "none"),
        (["--meta-steps", "1", "--distillation", "matched"], "--other-crops"),
    ],
)
def test_command_line_says_what_is_wrong(tmp_path, arguments, message):
    result = cli("--out", str(tmp_path / "x"), *arguments)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert message in result.stderr
    assert not (tmp_path / "x").exists()


def test_switches_of_the_command_line_are_in_the_card(tmp_path, own):
    switches = "--entropy full --distillation matched --other-crops 1 --anneal --precision auto --device cpu"
    result = cli(*own, "--out", str(tmp_path), *TINY, *switches.split(), "--meta-steps", "1")
    assert result.exit_code == 0, result.stderr
    hyper = read_model(tmp_path / MODEL_FILE).card.hyper_parameters
    found = [hyper[key] for key in ("entropy", "distillation", "allow_same", "anneal")]
    assert found == ["full", "matched", True, True]


def test_switches_that_turn_something_off(tmp_path, own, two_sources):
    three = [*own, "--sources", f"more={two_sources / 'B39'}"]
    switches = ["--distinct-others", "--grey", "--native-scale", "--scale-jitter", "1"]
    result = cli(*three, "--out", str(tmp_path), *TINY, *switches, "--meta-steps", "1")
    assert result.exit_code == 0, result.stderr
    hyper = read_model(tmp_path / MODEL_FILE).card.hyper_parameters
    found = [hyper[key] for key in ("allow_same", "mix", "rescale", "scale_jitter", "entropy", "anneal")]
    assert found == [False, False, False, 1, "printed", False]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_last_complete_iteration(tmp_path, own, number):
    out = tmp_path / "run"
    arguments = [*own, "--out", str(out), *TINY]
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--meta-steps", "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 200
    try:
        while not (out / CURVES_FILE).exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()  # if the signal has not ended it
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert b"Stopped; the last complete iteration is in" in stderr
    assert read_model(out / MODEL_FILE).card.hyper_parameters["iterations"] == len(rows(out)) / 2 >= 1


@pytest.fixture
def some_published(source_data, tmp_path):
    """Folder laid out as the published sets, with the first four images of each: all take 20 s to load."""
    folder = tmp_path / "published"
    for name in SOURCE_NAMES:
        for part in ("images", "masks"):
            (folder / name / part).mkdir(parents=True)
        for image in sorted((source_data / name / "images").iterdir())[:4]:
            for part in ("images", "masks"):
                shutil.copy(source_data / name / part / image.name, folder / name / part)
    return folder


def test_command_line_on_the_published_sets(tmp_path, some_published):
    out = tmp_path / "run"
    result = cli("--data", some_published, "--target", "B5", "--out", out, *TINY, "--meta-steps", "1")
    assert result.exit_code == 0, result.stderr
    card = read_model(out / MODEL_FILE).card
    assert [source["name"] for source in card.sources] == ["B39", "ssTEM", "EM", "TNBC"]
