"""``napari-fewshot``: all its forms, good and bad input, exit codes, what it prints and writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from skimage import io
from typer.testing import CliRunner, Result

from napari_fewshot_cells import __version__
from napari_fewshot_cells.cli.main import app
from napari_fewshot_cells.models.model_file import read_model, write_model
from napari_fewshot_cells.prediction.instances import label_instances
from napari_fewshot_cells.simulate import fluorescent_cells, partial_annotation

SHAPE = (160, 192)
COMMAND = (sys.executable, "-m", "napari_fewshot_cells")


@pytest.fixture
def library(own_home: Path) -> Path:
    """Folder of this test's own models; it does not exist yet."""
    return own_home / "models"


@pytest.fixture
def shot(tmp_path: Path) -> tuple[Path, Path]:
    """A simulated image and its partial annotation, as files."""
    return write_shot(tmp_path, "a", seed=0)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model fine-tuned for one step."""
    folder = tmp_path_factory.mktemp("model")
    image, annotation = write_shot(folder, "a", seed=0)
    done = run("finetune", image, annotation, "--out", folder / "one-step.safetensors", "--steps", 1)
    assert done.exit_code == 0, done.stderr
    return folder / "one-step.safetensors"


def write_shot(folder: Path, stem: str, seed: int) -> tuple[Path, Path]:
    image, truth = fluorescent_cells(SHAPE, seed)
    for name in ("images", "annotations", "truth"):
        (folder / name).mkdir(exist_ok=True)
    paths = folder / "images" / f"{stem}.tif", folder / "annotations" / f"{stem}.png"
    tifffile.imwrite(paths[0], image)
    io.imsave(paths[1], partial_annotation(truth, seed).astype(np.uint8), check_contrast=False)
    tifffile.imwrite(folder / "truth" / f"{stem}.tif", truth)
    return paths


def run(*args: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


def start(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a person does."""
    command = [*COMMAND, *(str(arg) for arg in args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, **options)


def assert_one_line(code: int, stderr: str, *words: str) -> None:
    assert code == 2, stderr
    assert len(stderr.strip().splitlines()) == 1, stderr
    assert stderr.startswith("error: ")
    for word in words:
        assert word in stderr


def assert_fails(result: Result, *words: str) -> None:
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert_one_line(result.exit_code, result.stderr, *words)


# --- the whole way, in processes of their own --------------------------------------------------------------


def test_three_shots_segment_other_images(tmp_path: Path, library: Path) -> None:
    for seed, stem in enumerate("abc"):
        write_shot(tmp_path, stem, seed)
    for seed, stem in enumerate("de", start=3):
        image, truth = fluorescent_cells(SHAPE, seed)
        for name, pixels in (("new", image), ("new-truth", truth)):
            (tmp_path / name).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / name / f"{stem}.tif", pixels)

    done = start("finetune", tmp_path / "images", tmp_path / "annotations", "--out", "mine", "--seconds", 2)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert str(library / "mine.safetensors") in done.stdout
    card = read_model(library / "mine.safetensors").card
    assert (card.k_shot, card.shots) == (3, ("a.tif", "b.tif", "c.tif"))
    assert card.command.startswith("napari-fewshot finetune ")
    assert "--seconds 2" in card.command

    done = start("predict", "mine", tmp_path / "new", "--out", tmp_path / "out", "--probability")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    labels, chance = (tifffile.imread(tmp_path / "out" / name) for name in ("d.tif", "d_probability.tif"))
    assert (labels.dtype, labels.shape) == (np.int32, SHAPE)
    assert (chance.dtype, chance.shape) == (np.float32, SHAPE)
    assert chance.min() >= 0
    assert chance.max() <= 1
    assert not np.any((labels > 0) & (chance <= 0.5))
    assert {f.name for f in (tmp_path / "out").iterdir()} == {
        "d.tif", "d_probability.tif", "e.tif", "e_probability.tif"
    }  # fmt: skip

    done = start("evaluate", tmp_path / "out", tmp_path / "new-truth", "--json", tmp_path / "scores.json")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert [image["name"] for image in scores["images"]] == ["d", "e"]
    assert scores["mean"]["iou"] > 0.7
    assert scores["mean"]["ap50"] > 0.4
    assert f"{scores['mean']['iou']:.4f} ± {scores['sd']['iou']:.4f}" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal and signals as on POSIX")
def test_ctrl_c_stops_with_one_line_and_writes_nothing(tmp_path: Path, shot: tuple[Path, Path]) -> None:
    out = tmp_path / "out" / "model.safetensors"
    terminal, end = os.openpty()
    command = [*COMMAND, "finetune", *map(str, shot), "--out", str(out), "--seconds", "200"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=end, env={**os.environ, "TERM": "xterm"}
    )
    os.close(end)
    shown = b""
    try:
        while b"loss" not in shown:  # the bar shows the loss once the training runs
            shown += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=60)
    finally:
        process.kill()  # if the signal did not end it
    shown = b""
    while chunk := _read_to_end(terminal):
        shown += chunk
    os.close(terminal)
    assert process.returncode == 130
    assert stdout == b""
    assert b"stopped: no model was written." in shown
    assert b"Traceback" not in shown
    assert list(out.parent.iterdir()) == []


def _read_to_end(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux reports the end of a pseudo-terminal
        return b""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as on POSIX")
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, shot: tuple[Path, Path]) -> None:
    import resource

    out = tmp_path / "out" / "model.safetensors"
    done = start(
        "finetune", *shot, "--out", out, "--steps", 1,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )  # fmt: skip
    assert_one_line(done.returncode, done.stderr, str(out), "cannot be written")
    assert list(out.parent.iterdir()) == []


def test_wrong_usage_and_bad_files_are_one_line(tmp_path: Path, shot: tuple[Path, Path]) -> None:
    done = start("finetune", shot[0])
    assert_one_line(done.returncode, done.stderr, "ANNOTATIONS")
    broken = tmp_path / "broken.png"  # Pillow warns of this one, and tifffile writes to its log
    broken.write_bytes(b"II*\0broken")
    done = start("finetune", broken, shot[1], "--out", "mine")
    assert_one_line(done.returncode, done.stderr, "broken.png")


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from napari_fewshot_cells.cli.main import app\n"
        "try: app(['predict', '--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "sys.exit('torch' in sys.modules or 'skimage' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "IMAGE_OR_FOLDER" in done.stdout


# --- finetune ----------------------------------------------------------------------------------------------


def test_version_and_bare_command() -> None:
    assert __version__ in run("--version").stdout
    assert "finetune" in run().stdout


@pytest.mark.parametrize("arch", ["fcrn", "unet", "half-unet"])
def test_same_seed_same_model(tmp_path: Path, shot: tuple[Path, Path], arch: str) -> None:
    models = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        done = run(
            "finetune", *shot, "--out", tmp_path / name, "--arch", arch, "--steps", 1, "--seed", seed
        )  # a path without a suffix gets it
        assert done.exit_code == 0, done.stderr
        models.append(read_model(tmp_path / f"{name}.safetensors"))
        assert json.loads((tmp_path / f"{name}.json").read_text())["parent"] == arch
    one, two, three = (torch.cat([p.flatten() for p in m.network.parameters()]) for m in models)
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    assert models[0].card.architecture == arch


def test_the_papers_recipe(tmp_path: Path, shot: tuple[Path, Path], library: Path) -> None:
    given = ("finetune", *shot, "--out", "papers", "--recipe", "paper")
    refused = run(*given, "--steps", 3)
    assert refused.exit_code == 2
    assert "has a fixed length" in refused.stderr
    done = run(*given)
    assert done.exit_code == 0, done.stderr
    card = read_model(library / "papers.safetensors").card
    assert (card.hyper_parameters["epochs"], card.views, card.batch_norm) == (20, 1, "image")
    assert card.decision_logit == 0
    assert card.command.endswith("--recipe paper")
    assert card.parent == "fcrn"


def test_whole_image_takes_a_mask(tmp_path: Path, shot: tuple[Path, Path]) -> None:
    mask = (tifffile.imread(tmp_path / "truth" / "a.tif") > 0) * np.uint8(255)
    io.imsave(tmp_path / "mask.png", mask, check_contrast=False)
    assert_fails(run("finetune", shot[0], tmp_path / "mask.png", "--out", "m", "--steps", 1), "Only cells")
    done = run("finetune", shot[0], tmp_path / "mask.png", "--out", "m", "--steps", 1, "--whole-image")
    assert done.exit_code == 0, done.stderr


def as_rgba(image: np.ndarray) -> np.ndarray:
    grey = (image / image.max() * 255).astype(np.uint8)
    return np.dstack([grey, grey, grey, np.full_like(grey, 255)])


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("x.png", as_rgba),
        ("x.tif", lambda image: image / 7.0),  # float64
        ("x.png", lambda image: image.astype(np.uint16)),
        ("x.tif", lambda image: image > np.median(image)),  # bool
        ("x.tif", lambda image: image[:60, :70]),  # smaller than a crop
        ("x.jpg", lambda image: (image / image.max() * 255).astype(np.uint8)),
    ],
)
def test_kinds_of_images(
    tmp_path: Path, name: str, convert: Callable[[np.ndarray], np.ndarray], model_file: Path
) -> None:
    image, truth = fluorescent_cells(SHAPE, seed=5)
    pixels = convert(image)
    if name.endswith(".tif"):
        tifffile.imwrite(tmp_path / name, pixels)  # imsave would turn bool into uint8
    else:
        io.imsave(tmp_path / name, pixels, check_contrast=False)
    shape = pixels.shape[:2]
    painted = partial_annotation(truth, seed=5, n_cells=99)[: shape[0], : shape[1]]
    tifffile.imwrite(tmp_path / "painted.tif", painted)
    done = run("finetune", tmp_path / name, tmp_path / "painted.tif", "--out", "m", "--steps", 1)
    assert done.exit_code == 0, done.stderr
    done = run("predict", model_file, tmp_path / name, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert tifffile.imread(tmp_path / "out" / "x.tif").shape == shape


def test_one_bit_png(tmp_path: Path, model_file: Path) -> None:
    from PIL import Image

    image, _ = fluorescent_cells(SHAPE, seed=5)
    Image.fromarray(image > np.median(image)).save(tmp_path / "bit.png")
    done = run("predict", model_file, tmp_path / "bit.png", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr


def blank(labels: np.ndarray) -> np.ndarray:
    return np.zeros_like(labels)


def only_cells(labels: np.ndarray) -> np.ndarray:
    return np.where(labels > 1, labels, 0)


def only_background(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == 1, labels, 0)


def cropped(labels: np.ndarray) -> np.ndarray:
    return labels[:-3]


def fractions(labels: np.ndarray) -> np.ndarray:
    return labels + 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (blank, "Nothing is annotated"),
        (only_cells, "Only cells"),
        (only_background, "Only background"),
        (cropped, "shape"),
        (fractions, "whole numbers"),
    ],
)
def test_bad_annotations(
    tmp_path: Path,
    library: Path,
    shot: tuple[Path, Path],
    change: Callable[[np.ndarray], np.ndarray],
    message: str,
) -> None:
    tifffile.imwrite(tmp_path / "bad.tif", change(io.imread(shot[1])))
    assert_fails(run("finetune", shot[0], tmp_path / "bad.tif", "--out", "m"), message)
    assert not library.exists()


def with_nan(image: np.ndarray) -> np.ndarray:
    bad = image.astype(np.float32)
    bad[3, 4] = np.nan
    return bad


BAD_IMAGES = [
    (with_nan, "NaN"),
    (lambda image: np.full_like(image, 7), "constant"),
    (lambda image: np.stack([image] * 5), "2-D"),
    (lambda image: image[:8, :8], "16×16"),
    (lambda image: image.astype(np.complex64), "complex64"),
]


@pytest.mark.parametrize(("change", "message"), BAD_IMAGES)
def test_bad_images(
    tmp_path: Path,
    shot: tuple[Path, Path],
    model_file: Path,
    change: Callable[[np.ndarray], np.ndarray],
    message: str,
) -> None:
    bad = tmp_path / "bad.tif"
    tifffile.imwrite(bad, change(tifffile.imread(shot[0])), photometric="minisblack")
    assert_fails(run("finetune", bad, shot[1], "--out", "m"), "bad.tif", message)
    assert_fails(run("predict", model_file, bad, "--out", tmp_path / "out"), "bad.tif", message)


def test_bad_paths_and_options(tmp_path: Path, shot: tuple[Path, Path], library: Path) -> None:
    ok = ("finetune", *shot, "--steps", 1, "--out")
    (tmp_path / "file").write_text("")
    assert_fails(run(*ok, tmp_path / "file" / "m.safetensors"), "cannot be written")
    assert_fails(run(*ok, tmp_path), "folder")
    assert_fails(run(*ok, "fcrn"), "bundled")
    assert_fails(run(*ok, "a*b"), "cannot name a model")
    assert_fails(run(*ok, "m", "--device", "abacus"), "abacus")
    assert_fails(run("finetune", tmp_path / "none", shot[1], "--out", "m"), "none")
    (tmp_path / "empty").mkdir()
    assert_fails(run("finetune", tmp_path / "empty", shot[1].parent, "--out", "m"), "no image")
    for wrong in (("--steps", 0), ("--seconds", 0), ("--arch", "vgg"), ("--steps", 1, "--seconds", 1)):
        done = run("finetune", *shot, "--out", "m", *wrong)
        assert done.exit_code == 2
        assert "Traceback" not in done.stderr
    assert not library.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device that must be missing")
def test_missing_device(shot: tuple[Path, Path]) -> None:
    assert_fails(run("finetune", *shot, "--out", "m", "--device", "cuda"), "'cuda' is not available")


def test_stems_that_do_not_pair_and_too_many_shots(tmp_path: Path, shot: tuple[Path, Path]) -> None:
    folders = shot[0].parent, shot[1].parent
    stray = shutil.copy(shot[1], folders[1] / "stray.png")
    assert_fails(run("finetune", *folders, "--out", "m"), "stray.png", "no file of the same name")
    Path(stray).unlink()
    for number in range(10):
        for file in shot:
            shutil.copy(file, file.with_stem(f"more-{number}"))
    assert_fails(run("finetune", *folders, "--out", "m"), "11 images", "at most 10")


# --- predict -----------------------------------------------------------------------------------------------


def test_bad_files_are_skipped_and_the_rest_is_done(tmp_path: Path, model_file: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    good = ("a.tif", "z.tif")
    for name in good:
        tifffile.imwrite(folder / name, fluorescent_cells(SHAPE, seed=1)[0])
    (folder / "m.tif").write_bytes(b"II*\0 and nothing after it")
    (folder / "n.png").write_bytes(b"")
    tifffile.imwrite(folder / "o.tif", np.eye(200, dtype=np.uint8), compression="zlib")
    (folder / "o.tif").write_bytes((folder / "o.tif").read_bytes()[:-20])
    (folder / "notes.txt").write_text("not an image, and not asked for")
    done = run("predict", model_file, folder, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == list(good)
    lines = done.stderr.splitlines()
    assert len(lines) == 4, lines
    assert "m.tif" in lines[0]
    assert "n.png" in lines[1]
    assert "o.tif" in lines[2]
    assert "3 of 5" in lines[3]


def test_min_size(tmp_path: Path, shot: tuple[Path, Path], model_file: Path) -> None:
    sizes = {}
    for least in (0, 200):
        out = tmp_path / f"out{least}"
        done = run("predict", model_file, shot[0], "--out", out, "--min-size", least)
        assert done.exit_code == 0, done.stderr
        labels = tifffile.imread(out / "a.tif")
        sizes[least] = np.bincount(labels.ravel())[1:]
        assert f"{labels.max()} cells" in done.stdout
    assert (sizes[200] >= 200).all()
    assert len(sizes[200]) == np.count_nonzero(sizes[0] >= 200)


def test_threshold_and_holes(tmp_path: Path, shot: tuple[Path, Path], model_file: Path) -> None:
    done = run("predict", model_file, shot[0], "--out", tmp_path / "usual", "--probability")
    assert done.exit_code == 0, done.stderr
    chance = tifffile.imread(tmp_path / "usual" / "a_probability.tif")
    middle = float(np.median(chance))
    options = ("--threshold", middle, "--max-hole", 40, "--min-size", 3)
    done = run("predict", model_file, shot[0], "--out", tmp_path / "out", *options)
    assert done.exit_code == 0, done.stderr
    diameter = read_model(model_file).card.diameter
    wanted = label_instances(chance, threshold=middle, diameter=diameter, min_size=3, max_hole=40)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "a.tif"), wanted)
    assert run("predict", model_file, shot[0], "--out", tmp_path / "x", "--threshold", 2).exit_code == 2


def test_predict_cuts_touching_cells_at_their_contact(tmp_path: Path, touching_cells: Any) -> None:
    image, model = touching_cells
    tifffile.imwrite(tmp_path / "two.tif", image)
    for name, contact_logit, cells in (("contact", 0.0, 2), ("shape", None, 1)):
        card = replace(model.card, contact_logit=contact_logit)
        write_model(replace(model, card=card), tmp_path / f"{name}.safetensors")
        done = run(
            "predict", tmp_path / f"{name}.safetensors", tmp_path / "two.tif", "--out", tmp_path / name
        )
        assert done.exit_code == 0, done.stderr
        assert f"{cells} cells" in done.stdout
        assert tifffile.imread(tmp_path / name / "two.tif").max() == cells


def test_same_stem_is_refused_before_the_start(
    tmp_path: Path, shot: tuple[Path, Path], model_file: Path
) -> None:
    twin = Path(shutil.copy(shot[1], shot[0].with_suffix(".png")))
    out = tmp_path / "out"
    assert_fails(run("predict", model_file, shot[0], twin, "--out", out), "a.tif", "a.png")
    assert not out.exists()
    # the same file named twice is no conflict
    done = run("predict", model_file, twin, twin, "--out", out)
    assert done.exit_code == 0, done.stderr
    # a probability must not overwrite another image's labels
    other = Path(shutil.copy(shot[0], tmp_path / "a_probability.tif"))
    wanted = ("predict", model_file, shot[0], other, "--out", out, "--probability")
    assert_fails(run(*wanted), "a_probability.tif")


def test_inputs_are_never_overwritten(shot: tuple[Path, Path], model_file: Path) -> None:
    before = shot[0].read_bytes()
    assert_fails(run("predict", model_file, shot[0].parent, "--out", shot[0].parent), "overwritten")
    assert shot[0].read_bytes() == before


def test_bad_models(tmp_path: Path, shot: tuple[Path, Path], model_file: Path) -> None:
    import safetensors.torch

    whole = model_file.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.safetensors").write_text("no weights at all")
    safetensors.torch.save_file({"layer": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    torch.save({"layer": torch.zeros(3)}, tmp_path / "pickle.pt")
    for name in ("cut.safetensors", "text.safetensors", "foreign.safetensors", "pickle.pt"):
        assert_fails(run("predict", tmp_path / name, shot[0], "--out", tmp_path / "out"), name)
    assert_fails(run("predict", "no-such-model", shot[0], "--out", tmp_path / "out"), "no-such-model")
    assert not (tmp_path / "out").exists()


def test_predict_bad_paths(tmp_path: Path, shot: tuple[Path, Path], model_file: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_fails(run("predict", model_file, tmp_path / "none", "--out", tmp_path / "out"), "none")
    assert_fails(run("predict", model_file, shot[0], "--out", tmp_path / "file"), "cannot be written")


def test_resume_and_report(tmp_path: Path, model_file: Path) -> None:
    folder, out = tmp_path / "many", tmp_path / "out"
    folder.mkdir()
    for seed, name in enumerate(("a.tif", "b.tif")):
        tifffile.imwrite(folder / name, fluorescent_cells(SHAPE, seed=seed)[0])
    (folder / "c.png").write_bytes(b"damaged")
    done = run("predict", model_file, folder / "a.tif", "--out", out, "--report")
    assert done.exit_code == 0, done.stderr
    made = (out / "a.tif").read_bytes()
    (out / "a.tif").write_bytes(b"corrected by hand")
    wanted = ("predict", model_file, folder, "--out", out, "--report", "--measurements", "--resume")
    done = run(*wanted)
    assert done.exit_code == 1, done.stderr
    assert done.stderr.startswith("skipped: 'c.png' cannot be read")
    assert "a_objects.csv is not" in done.stdout
    assert (out / "a.tif").read_bytes() == b"corrected by hand"
    assert sorted(f.name for f in out.iterdir()) == ["a.tif", "b.tif", "b_objects.csv", "report.csv"]
    report = (out / "report.csv").read_text(encoding="utf-8-sig").splitlines()
    assert report[0] == "file,status,objects,seconds,message"
    assert [line.split(",")[1] for line in report[1:]] == ["exists", "done", "skipped"]
    # without --resume, everything is segmented again
    done = run("predict", model_file, folder / "a.tif", "--out", out)
    assert done.exit_code == 0, done.stderr
    assert (out / "a.tif").read_bytes() == made
    # a person's own table of that name stays
    (out / "report.csv").write_text("mine")
    done = run("predict", model_file, folder / "a.tif", "--out", out, "--report")
    assert_fails(done, "report.csv", "no report")
    assert (out / "report.csv").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix", reason="sends signals as on POSIX")
def test_ctrl_c_keeps_what_is_done(tmp_path: Path, model_file: Path) -> None:
    folder, out = tmp_path / "many", tmp_path / "out"
    folder.mkdir()
    images = [fluorescent_cells((512, 512), seed=seed)[0] for seed in range(3)]
    for number in range(40):
        tifffile.imwrite(folder / f"{number:02}.tif", images[number % 3])
    command = [*COMMAND, "predict", model_file, folder, "--out", out, "--report"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()  # if the signal did not end it
    assert process.returncode == 130
    assert stderr.startswith("stopped: the images listed are done")
    done = [line.split(",")[0] for line in (out / "report.csv").read_text().splitlines()[1:]]
    assert 0 < len(done) < 40
    assert {f.name for f in out.iterdir()} - {"report.csv"} <= {Path(name).name for name in done} | {
        f"{len(done):02}.tif"  # written, but not in the report yet
    }


# --- evaluate ----------------------------------------------------------------------------------------------


def test_evaluate_by_hand(tmp_path: Path) -> None:
    truth = np.zeros((20, 20), np.int32)
    truth[2:6, 2:6], truth[10:14, 10:14] = 1, 2
    predicted = np.zeros_like(truth)
    predicted[2:6, 2:5] = 7  # 12 of 16 px of the first cell, none of the second
    for name, pixels in (("p", predicted), ("t", truth)):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    out = tmp_path / "new" / "scores.json"
    done = run("evaluate", tmp_path / "p.tif", tmp_path / "t.tif", "--json", out)
    assert done.exit_code == 0, done.stderr
    scores = json.loads(out.read_text())
    assert scores["n"] == 1
    assert scores["mean"]["iou"] == pytest.approx(12 / 32, abs=1e-5)
    assert scores["mean"]["ap50"] == pytest.approx(1 / 2)
    assert scores["sd"] == {"iou": 0, "ap50": 0}
    # the instances of a mask with one value are its components
    io.imsave(tmp_path / "mask.png", (truth > 0) * np.uint8(255), check_contrast=False)
    done = run("evaluate", tmp_path / "p.tif", tmp_path / "mask.png", "--json", out)
    assert json.loads(out.read_text())["mean"]["ap50"] == pytest.approx(1 / 2)


def test_evaluate_bad_input(tmp_path: Path, shot: tuple[Path, Path]) -> None:
    tifffile.imwrite(tmp_path / "small.tif", np.ones((9, 9), np.uint8))
    truth = tmp_path / "truth"
    assert_fails(run("evaluate", tmp_path / "small.tif", truth / "a.tif"), "shape")
    assert_fails(run("evaluate", tmp_path / "none", truth), "none")
    shutil.copy(truth / "a.tif", truth / "b.tif")
    assert_fails(run("evaluate", shot[1].parent, truth), "b.tif", "no file of the same name")
    # predictions without a ground truth are not scored, and a note says so
    done = run("evaluate", truth, shot[1].parent)
    assert done.exit_code == 0
    assert "not scored: 1" in done.stderr


# --- models ------------------------------------------------------------------------------------------------


def test_models_import_list_show_export_delete(tmp_path: Path, model_file: Path, library: Path) -> None:
    done = run("models")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:4]] == ["half-unet", "fcrn", "unet"]
    assert "one-step" not in done.stdout

    assert run("models", "import", model_file).exit_code == 0
    assert (library / "one-step.json").is_file()
    assert run("models", "list").stdout == run("models").stdout
    row = next(line for line in run("models").stdout.splitlines() if line.startswith("one-step"))
    assert row.split()[:4] == ["one-step", "half-unet", "you", "1"]
    assert_fails(run("models", "import", model_file), "one-step")

    shown = run("models", "show", "one-step").stdout
    assert "a.tif" in shown
    assert "percentiles" in shown

    assert run("models", "export", "one-step", tmp_path / "copy").exit_code == 0
    copy = read_model(tmp_path / "copy.safetensors")
    assert copy.card.shots == ("a.tif",)
    assert_fails(run("models", "export", "one-step", tmp_path / "copy"), "exists")

    assert run("models", "delete", "one-step").exit_code == 0
    assert list(library.iterdir()) == []
    assert_fails(run("models", "delete", "one-step"), "one-step")
    assert_fails(run("models", "show", "one-step"), "one-step")
    assert_fails(run("models", "delete", "fcrn"), "cannot be deleted")


def test_models_rename_and_note(model_file: Path, library: Path) -> None:
    run("models", "import", model_file)
    assert run("models", "note", "one-step", "my  nuclei").exit_code == 0
    assert run("models", "rename", "one-step", "nuclei").exit_code == 0
    row = next(line for line in run("models").stdout.splitlines() if line.startswith("nuclei"))
    assert row.endswith("my nuclei")
    assert sorted(file.name for file in library.iterdir()) == ["nuclei.json", "nuclei.safetensors"]
    assert "nuclei" in run("models", "show", "nuclei").stdout
    for wrong in (("rename", "fcrn", "mine"), ("note", "fcrn", "text")):
        assert_fails(run("models", *wrong), "came with the package")
    assert_fails(run("models", "rename", "nuclei", "unet"), "bundled")
    assert_fails(run("models", "rename", "nobody", "mine"), "nobody")


def test_models_export_by_suffix(tmp_path: Path, model_file: Path, library: Path) -> None:
    run("models", "import", model_file)
    for name in ("m.onnx", "m.zip"):
        done = start("models", "export", "one-step", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert done.stdout == f"exported 'one-step' to {tmp_path / name}\n"
        assert_fails(run("models", "export", "one-step", tmp_path / name), "exists")
    assert_fails(run("models", "export", "fcrn", tmp_path / "f.onnx"), "fine-tune")
    # as if the extra is not installed
    code = (
        "import sys; sys.modules.update(onnx=None)\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'onnx' else find(name, *a)\n"
        "from napari_fewshot_cells.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "models", "export", "one-step", str(tmp_path / "n.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert_one_line(done.returncode, done.stderr, "pip install 'napari-fewshot-cells[export]'")


def test_a_damaged_model_does_not_hide_the_others(tmp_path: Path, model_file: Path, library: Path) -> None:
    (tmp_path / "foreign.safetensors").write_bytes(model_file.read_bytes()[:200])
    assert_fails(run("models", "import", tmp_path / "foreign.safetensors"), "foreign.safetensors")
    assert not library.exists()
    library.mkdir(parents=True)
    shutil.copy(tmp_path / "foreign.safetensors", library / "broken.safetensors")
    listed = run("models")
    assert listed.exit_code == 0
    assert "broken" in listed.stdout
    assert "damaged" in listed.stdout
    assert "fcrn" in listed.stdout
    assert_fails(run("models", "show", "broken"), "broken.safetensors")
