"""``napari-fewshot-train transfer`` and own sources, as users run them, up to the fine-tuned model."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage import io
from typer.testing import CliRunner, Result

from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.cli.train.main import app
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import make_shot, make_support_set
from napari_fewshot_cells.datasets.five_sets import SOURCE_NAMES
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.simulate import electron_microscopy, fluorescent_cells

TRAIN = (sys.executable, "-m", "napari_fewshot_cells.cli.train")
TINY = ("--batch", "2", "--crop-size", "32")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two own sources: nuclei with instance masks as TIFF, EM with binary masks as PNG."""
    folder = tmp_path_factory.mktemp("lab")
    for name, simulate in (("nuclei", fluorescent_cells), ("em", electron_microscopy)):
        for part in ("images", "masks"):
            (folder / name / part).mkdir(parents=True)
        for seed in range(2):
            image, labels = simulate((96, 96), seed=seed)
            if name == "nuclei":
                tifffile.imwrite(folder / name / "images" / f"{seed}.tif", image)
                tifffile.imwrite(folder / name / "masks" / f"{seed}.tif", labels.astype(np.uint16))
            else:
                io.imsave(folder / name / "images" / f"{seed}.png", image, check_contrast=False)
                mask = (labels > 0).astype(np.uint8)
                io.imsave(folder / name / "masks" / f"{seed}.png", mask, check_contrast=False)
    return folder


def run(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def start(*arguments: object, program: tuple[str, ...] = TRAIN) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does."""
    command = [*program, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def fail(*arguments: object) -> str:
    """Run a wrong command; return the one line of its error."""
    result = run(*arguments)
    assert result.exit_code == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


def test_an_own_source_becomes_a_start_that_the_panel_can_use(lab: Path, tmp_path: Path):
    """From annotated folders to a start in the library, and from there to a fine-tuned model."""
    out = tmp_path / "mine"
    done = start("transfer", "--sources", lab / "nuclei", "--out", out, "--steps", 2, *TINY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out / "model.safetensors")
    card = read_model(out / "model.safetensors").card
    (source,) = card.sources
    assert (source["name"], source["images"], source["licence"]) == ("nuclei", 2, "as its owner says")
    assert card.command.startswith("napari-fewshot-train transfer --sources ")
    assert (card.hyper_parameters["iterations"], card.hyper_parameters["batch"]) == (2, 2)

    (out / "model.safetensors").rename(out / "nuclei-start.safetensors")
    program = (sys.executable, "-m", "napari_fewshot_cells")
    done = start("models", "import", out / "nuclei-start.safetensors", program=program)
    assert done.returncode == 0, done.stderr
    model = load_model("nuclei-start")
    image, labels = fluorescent_cells((96, 96), seed=5)
    support = make_support_set([make_shot(to_plane(image, "new.tif"), labels, whole_image=True)])
    adapted = finish(fine_tune(model, support, recipe=Recipe(steps=1, crops=2, crop_size=32)))
    assert adapted.card.parent == "nuclei-start"
    assert adapted.card.k_shot == 1
    assert [s["name"] for s in adapted.card.sources] == ["nuclei"]


def test_switches_are_in_the_card(lab: Path, tmp_path: Path):
    switches = ("--by-set", "--balance", 0.5, "--anneal", "--grey", "--native-scale")
    own = ("--sources", lab / "nuclei", "--sources", lab / "em")
    done = run("transfer", *own, "--out", tmp_path, "--steps", 2, *TINY, *switches)
    assert done.exit_code == 0, done.stderr
    settings = read_model(tmp_path / "model.safetensors").card.hyper_parameters
    found = [settings[name] for name in ("by_set", "balance", "anneal", "mix", "rescale")]
    assert found == [True, 0.5, True, False, False]


def test_meta_training_on_own_sources(lab: Path, tmp_path: Path):
    tiny = ("--k-shot", 2, "--inner-steps", 1, "--crops", 1, "--crop-size", 32, "--meta-steps", 1)
    own = ("--sources", lab / "nuclei", "--sources", f"mitochondria={lab / 'em'}")
    done = run("meta", *own, "--out", tmp_path / "run", *tiny)
    assert done.exit_code == 0, done.stderr
    card = read_model(tmp_path / "run" / "model.safetensors").card
    assert [s["name"] for s in card.sources] == ["nuclei", "mitochondria"]
    assert {s["licence"] for s in card.sources} == {"as its owner says"}
    alone = fail("meta", *own[:2], "--out", tmp_path / "alone", *tiny)
    assert "at least two source sets" in alone


def test_errors_are_one_line(lab: Path, tmp_path: Path):
    out = ("--out", tmp_path / "out")
    assert "--steps or --minutes" in fail("transfer", *out)
    steps = (*out, "--steps", 1)
    assert "There is no folder" in fail("transfer", *steps)
    assert "'none' cannot be used" in fail("transfer", *steps, "--sources", tmp_path / "none")
    own = ("--sources", lab / "nuclei")
    assert "give --data too" in fail("transfer", *steps, *own, "--target", "EM")
    assert "no device 'abacus'" in fail("transfer", *steps, *own, "--device", "abacus")
    assert not (tmp_path / "out").exists()


def test_the_same_command_resumes_after_ctrl_c(lab: Path, tmp_path: Path):
    arguments = ("transfer", "--sources", str(lab / "em"), "--out", str(tmp_path), *TINY)
    process = subprocess.Popen(
        [*TRAIN, *arguments, "--steps", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 200
    try:
        while not (tmp_path / "curves.csv").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()  # if the signal did not end it
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert b"Run the same command to resume" in b" ".join(stderr.split())
    done = read_model(tmp_path / "model.safetensors").card.hyper_parameters["iterations"]
    assert done >= 1
    resumed = run(*arguments, "--steps", done + 1)
    assert resumed.exit_code == 0, resumed.stderr
    assert read_model(tmp_path / "model.safetensors").card.hyper_parameters["iterations"] == done + 1


def test_own_sources_beside_the_five_at_a_stride(lab: Path, tmp_path: Path):
    for name in SOURCE_NAMES:
        shutil.copytree(lab / "em", tmp_path / "five" / name)
    sources = ("--data", tmp_path / "five", "--target", "B5", "--sources", lab / "nuclei")
    out = ("--out", tmp_path / "run", "--steps", 1, *TINY, "--stride", 40, "--native-scale")
    done = run("transfer", *sources, *out)
    assert done.exit_code == 0, done.stderr
    card = read_model(tmp_path / "run" / "model.safetensors").card
    assert [s["name"] for s in card.sources] == ["B39", "ssTEM", "EM", "TNBC", "nuclei"]
    assert card.hyper_parameters["stride"] == 40
    assert card.hyper_parameters["rescale"] is False
