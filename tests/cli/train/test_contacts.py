"""``napari-fewshot-train contacts``, as users run it, up to a model that cuts where cells touch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.cli.train import contacts as command
from napari_fewshot_cells.cli.train.main import app
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import make_shot, make_support_set
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.model import Model
from napari_fewshot_cells.models.model_file import read_model, write_model
from napari_fewshot_cells.models.networks import knows_contacts
from napari_fewshot_cells.simulate import fluorescent_cells
from napari_fewshot_cells.training import contacts as training

TRAIN = (sys.executable, "-m", "napari_fewshot_cells.cli.train")


def run(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["contacts", *(str(argument) for argument in arguments)])


def fail(*arguments: object) -> str:
    """Run a wrong command; return the one line of its error."""
    result = run(*arguments)
    assert result.exit_code == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


def test_own_sources_teach_a_start_where_cells_touch(own_sources: Path, tmp_path: Path):
    """From two folders to a start file, and from there to a fine-tuned model."""
    terms = tmp_path / "terms.toml"
    terms.write_text('[nuclei]\nlicence = "CC0"\ncitation = "We, 2026"\n[B39]\nlicence = "none of ours"\n')
    out = tmp_path / "new" / "touching.safetensors"
    own = ("--sources", own_sources / "nuclei", "--sources", f"phases={own_sources / 'phase'}")
    done = subprocess.run(
        [*TRAIN, "contacts", "unet", "--out", out, *own, "--licences", terms, "--steps", "2", "--seed", "3"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    model, start = read_model(out), load_model("unet")
    assert out.with_suffix(".json").is_file()
    assert knows_contacts(model.network)
    state = model.network.state_dict()
    before = {k: v for k, v in start.network.state_dict().items() if not k.startswith("contact_head.")}
    assert all(torch.equal(state[name], value) for name, value in before.items())
    card = model.card
    assert card.name == "touching"
    added = [source for source in card.sources if source["name"] in ("nuclei", "phases")]
    assert [(s["licence"], s["citation"]) for s in added] == [("CC0", "We, 2026"), ("as its owner says", "")]
    assert "napari-fewshot-train contacts unet --out " in card.command
    assert card.command.startswith(start.card.command)
    learned = card.hyper_parameters["contacts"]
    assert (learned["iterations"], learned["seed"]) == (2, 3)

    image, labels = fluorescent_cells((96, 96), seed=5)
    support = make_support_set([make_shot(to_plane(image, "new.tif"), labels, whole_image=True)])
    adapted = finish(fine_tune(model, support, recipe=Recipe(steps=1, crops=2, crop_size=32)))
    assert adapted.card.parent == "touching"
    assert knows_contacts(adapted.network)


def test_of_the_five_sets_b39_is_used(five_sources: Path, own_sources: Path, tmp_path: Path):
    out = tmp_path / "a.safetensors"
    done = run("fcrn", "--out", out, "--data", five_sources, "--steps", 1)
    assert done.exit_code == 0, done.stderr
    card = read_model(out).card
    assert card.notes.endswith("Contact output trained on B39.")
    assert [s["name"] for s in card.sources].count("B39") == 1
    left_out = ("--data", five_sources, "--target", "B39")
    assert "None of the source sets separates cells that touch" in fail("fcrn", "--out", out, *left_out)
    done = run("fcrn", "--out", out, *left_out, "--sources", own_sources / "phase", "--steps", 1)
    assert done.exit_code == 0, done.stderr
    assert read_model(out).card.notes.endswith("Contact output trained on phase.")


def test_errors_are_one_line(own_sources: Path, tmp_path: Path):
    out = ("--out", tmp_path / "new" / "out.safetensors")
    own = ("--sources", own_sources / "nuclei")
    assert "must end in .safetensors" in fail("fcrn", "--out", tmp_path / "out.pt", *own)
    assert "nobody" in fail("nobody", *out, *own)
    refused = fail("fcrn", *out, *own, "--sources", own_sources / "mitochondria")
    assert "In the masks of 'mitochondria' no two cells touch" in refused
    terms = tmp_path / "terms.toml"
    terms.write_text('nuclei = {citation = "We"}')
    assert "'nuclei' in the file of licences" in fail("fcrn", *out, *own, "--licences", terms)
    terms.write_text('nuclei = "CC0"')
    assert "'nuclei' in the file of licences" in fail("fcrn", *out, *own, "--licences", terms)
    assert not (tmp_path / "new").exists()


def test_a_fine_tuned_model_is_refused(own_sources: Path, tmp_path: Path):
    start = load_model("fcrn")
    tuned = write_model(Model(replace(start.card, k_shot=1), start.network), tmp_path / "tuned.safetensors")
    error = fail(tuned, "--out", tmp_path / "out.safetensors", "--sources", own_sources / "nuclei")
    assert "is fine-tuned already" in error


@pytest.mark.parametrize("options", [(), ("--steps", 5), ("--minutes", 1), ("--steps", 5, "--minutes", 1)])
def test_two_minutes_unless_steps_or_minutes_are_given(own_sources: Path, tmp_path, monkeypatch, options):
    budgets = []

    def stop(start, sources, config, budget, *, command):
        budgets.append((budget.meta_steps, budget.minutes))
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(training, "contact_train", stop)
    out = tmp_path / "out.safetensors"
    done = run("fcrn", "--out", out, "--sources", own_sources / "nuclei", *options)
    assert done.exit_code == 130
    given = dict(zip(options[::2], options[1::2], strict=True))
    minutes = given.get("--minutes", None if given else command._MINUTES)
    assert budgets == [(given.get("--steps"), minutes)]


def test_ctrl_c_writes_nothing(own_sources: Path, tmp_path: Path):
    out = tmp_path / "out.safetensors"
    own = ("--sources", str(own_sources / "nuclei"))
    process = subprocess.Popen(
        [*TRAIN, "contacts", "fcrn", "--out", str(out), *own, "--steps", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "FORCE_COLOR": "1"},  # as on a terminal: draw the bar
    )
    os.set_blocking(process.stderr.fileno(), False)
    seen, deadline = b"", time.monotonic() + 200
    try:
        while b"contact loss" not in seen and time.monotonic() < deadline:
            assert process.poll() is None, seen
            seen += process.stderr.read() or b""
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        os.set_blocking(process.stderr.fileno(), True)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()  # if the signal did not end it
    assert process.returncode == 130
    assert b"contact loss" in seen
    assert b"Traceback" not in stderr
    assert b"stopped: no model was written." in stderr
    assert stdout == b""
    assert not list(tmp_path.iterdir())
