"""Models exported for other programs. No test here may open a connection."""

from __future__ import annotations

import io
import json
import socket
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_fewshot_cells.base.errors import ModelError
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.plane import normalise, rescale, to_plane
from napari_fewshot_cells.data.support_set import make_shot, make_support_set
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models import export
from napari_fewshot_cells.models import onnx as onnx_module
from napari_fewshot_cells.models.export import export_to
from napari_fewshot_cells.models.library import load_model, save_model
from napari_fewshot_cells.models.model import N_REFINEMENT_WEIGHTS, Model
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.models.onnx import run_onnx, to_onnx
from napari_fewshot_cells.models.registry import NETWORKS
from napari_fewshot_cells.prediction.probability import FLIPS, predict, to_probability
from napari_fewshot_cells.simulate import fluorescent_cells, partial_annotation

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
spec = pytest.importorskip("bioimageio.spec")

# bioimageio.spec leaves files open
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **_: Any) -> Any:
        raise AssertionError(f"a connection was tried: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def tuned(request: pytest.FixtureRequest) -> Model:
    """A model fine-tuned for two steps: it has learnt scales, statistics of its support set, a threshold."""
    image, truth = fluorescent_cells((160, 192), seed=0)
    support = make_support_set([make_shot(to_plane(image, "a.tif"), partial_annotation(truth, seed=0))])
    steps = fine_tune(load_model(request.param), support, recipe=Recipe(steps=2, crops=2, crop_size=64))
    return finish(steps).renamed("nuclei 2026.11 (ü)")


def test_onnx_computes_what_pytorch_does(tuned: Model) -> None:
    content = to_onnx(tuned)
    rng = np.random.default_rng(1)
    for shape in ((1, 1, 64, 64), (3, 1, 40, 88), (1, 1, 131, 77), (1, 1, 8, 8)):
        image = rng.normal(size=shape).astype(np.float32)
        with torch.inference_mode():
            expected = tuned.network(torch.from_numpy(image))[0].numpy()
        np.testing.assert_allclose(run_onnx(content, image), expected, atol=1e-4, rtol=0)


def test_a_whole_image_through_onnx(tuned: Model) -> None:
    image, _ = fluorescent_cells((150, 210), seed=3)
    plane = to_plane(image, "b.tif")
    card = tuned.card
    mixed = plane if card.mix is None or sum(card.mix) > 0 else to_plane(-plane.pixels, "b.tif")
    seen = rescale(normalise(mixed), card.factor)
    content, views = to_onnx(tuned), FLIPS[: card.views]
    found = [np.flip(run_onnx(content, np.flip(seen, axes)[None, None])[0, 0], axes) for axes in views]
    logits = np.mean(found, axis=0)
    chance = to_probability(logits, card.decision_logit, plane.shape)
    np.testing.assert_allclose(chance, predict(tuned, plane), atol=1e-4)


def test_the_card_is_in_the_onnx_file(tuned: Model) -> None:
    graph = onnx.load_from_string(to_onnx(tuned))
    card = json.loads({prop.key: prop.value for prop in graph.metadata_props}["card"])
    assert card["diameter"] == tuned.card.diameter
    assert card["decision_logit"] == tuned.card.decision_logit
    (image,), (logits,) = graph.graph.input, graph.graph.output
    sizes = [axis.dim_param or axis.dim_value for axis in image.type.tensor_type.shape.dim]
    assert (image.name, logits.name, sizes) == ("image", "logits", ["batch", 1, "height", "width"])


def test_the_model_itself_stays_as_it_is(tuned: Model) -> None:
    before = {name: value.clone() for name, value in tuned.network.state_dict().items()}
    to_onnx(tuned)
    assert not tuned.network.training
    assert all(torch.equal(value, before[name]) for name, value in tuned.network.state_dict().items())


@pytest.mark.parametrize("mix", [(-1.0,), (0.2, -0.5, -0.3)])
def test_a_package_is_valid_and_repeats_its_test(
    tmp_path: Path, own_home: Path, tuned: Model, mix: tuple[float, ...]
) -> None:
    refinement = (0.0,) * N_REFINEMENT_WEIGHTS if len(mix) == 3 else None
    contact_logit = None if refinement is None else 0.0
    card = replace(tuned.card, mix=mix, refinement=refinement, score="IoU 0.8 on its own shots")
    card = replace(card, contact_logit=contact_logit)
    model = replace(tuned, card=card)
    save_model(model, "nuclei")
    file = export_to("nuclei", tmp_path / "nuclei.zip")
    described = spec.load_model_description(file, perform_io_checks=True)
    assert described.validation_summary.status == "valid-format", described.validation_summary
    assert described.license == "BSD-3-Clause"
    assert "Dawoud" in described.cite[0].text
    assert described.config.napari_fewshot_cells["diameter_in_pixels"] == pytest.approx(tuned.card.diameter)
    assert described.config.napari_fewshot_cells["decision_logit"] == pytest.approx(tuned.card.decision_logit)

    package = zipfile.ZipFile(file)
    readme = package.read("README.md").decode()
    for words in ("IoU 0.8", "Dawoud", "B39", f"{tuned.card.diameter:.1f} px"):
        assert words in readme
    assert ("0.2000 red -0.5000 green -0.3000 blue" in readme) == (len(mix) == 3)
    assert ("full resolution" in readme) == (refinement is not None)
    assert ("contacts are not exported" in readme) == (contact_logit is not None)
    tensor, wanted = (
        np.load(io.BytesIO(package.read(name))) for name in ("test_input.npy", "test_output.npy")
    )
    for step in described.inputs[0].preprocessing:
        tensor = processed(tensor, step)
    result = run_onnx(package.read("weights.onnx"), tensor)
    for step in described.outputs[0].postprocessing:
        result = processed(result, step)
    np.testing.assert_allclose(result, wanted, atol=1e-4)


def processed(tensor: Any, step: Any) -> Any:
    """Apply a processing step of a package, as the specification defines it."""
    match step.id:
        case "ensure_dtype":
            return tensor.astype(step.kwargs.dtype)
        case "scale_linear":
            return (tensor * step.kwargs.gain + step.kwargs.offset).astype(np.float32)
        case "clip":
            return tensor.clip(step.kwargs.min, step.kwargs.max)
        case "scale_range":
            low, high = np.percentile(tensor, (step.kwargs.min_percentile, step.kwargs.max_percentile))
            return ((tensor - low) / (high - low + step.kwargs.eps)).astype(np.float32)
        case "sigmoid":
            return 1 / (1 + np.exp(-tensor))
    raise AssertionError(step)


def test_suffixes(tmp_path: Path, own_home: Path, tuned: Model) -> None:
    save_model(tuned, "mine")
    assert export_to("mine", tmp_path / "copy").name == "copy.safetensors"
    assert read_model(tmp_path / "copy.safetensors").card.name == "mine"
    file = export_to("mine", tmp_path / "new" / "X.ONNX")
    assert onnx.load(file).graph.input[0].name == "image"
    before = file.read_bytes()
    for again in (file, tmp_path / "copy"):
        with pytest.raises(ModelError, match="exists"):
            export_to("mine", again)
    assert file.read_bytes() == before
    with pytest.raises(ModelError, match="no model 'nobody'"):
        export_to("nobody", tmp_path / "x.onnx")


@pytest.mark.parametrize("suffix", [".onnx", ".zip"])
def test_a_start_is_to_be_fine_tuned_first(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ModelError, match=r"'fcrn' measures its statistics .* fine-tune it"):
        export_to("fcrn", tmp_path / f"x{suffix}")
    assert not list(tmp_path.iterdir())


def test_without_the_extra(
    tmp_path: Path, own_home: Path, tuned: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tuned, "mine")
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "bioimageio.spec" else name)
    export_to("mine", tmp_path / "x.onnx")
    with pytest.raises(ModelError, match=r"needs bioimageio.spec: pip install 'napari-fewshot-cells\[exp"):
        export_to("mine", tmp_path / "x.zip")
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="needs onnx and onnxruntime: pip install"):
        export_to("mine", tmp_path / "y.onnx")
    assert export_to("mine", tmp_path / "y").is_file()


def test_a_network_that_differs_is_not_written(
    tmp_path: Path, own_home: Path, tuned: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tuned, "mine")
    monkeypatch.setattr(onnx_module, "run_onnx", lambda _, image: image)
    with pytest.raises(ModelError, match="differs"):
        export_to("mine", tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_a_format_is_one_entry(
    tmp_path: Path, own_home: Path, tuned: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its suffix is known, and nothing is written if a module that it needs is missing."""
    save_model(tuned, "mine")
    write = export.ExportFormat("Name", lambda model, file: file.write_text(model.card.name))
    monkeypatch.setitem(export.FORMATS, ".name", write)
    file = export_to("mine", tmp_path / "new" / "m.Name")
    assert file.read_text() == "mine"
    monkeypatch.setitem(export.FORMATS, ".name", replace(write, needs=("no_such_module",), install="it"))
    with pytest.raises(ModelError, match=r"Export to \.name needs no_such_module: pip install it\."):
        export_to("mine", tmp_path / "other.name")
    monkeypatch.delitem(export.FORMATS, ".name")
    assert export_to("mine", tmp_path / "m.name").name == "m.name.safetensors"


def test_the_suffix_of_our_own_format_is_in_small_letters(
    tmp_path: Path, own_home: Path, tuned: Model
) -> None:
    save_model(tuned, "mine")
    file = export_to("mine", tmp_path / "m.SAFETENSORS")
    assert file.name == "m.SAFETENSORS.safetensors"
    assert read_model(file).card.name == "mine"


def test_the_help_lists_the_formats() -> None:
    from typer.testing import CliRunner

    from napari_fewshot_cells.cli.main import app

    shown = " ".join(CliRunner().invoke(app, ["models", "export", "--help"]).stdout.split())
    for suffix, known in export.FORMATS.items():
        assert f"{suffix} ({known.title})" in shown
