"""Models on disk and in the library."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from napari_fewshot_cells.base.atomic_files import write_atomically
from napari_fewshot_cells.base.errors import ModelError
from napari_fewshot_cells.models import library
from napari_fewshot_cells.models.batch_norm import fused, learn_affine
from napari_fewshot_cells.models.export import export_to
from napari_fewshot_cells.models.model import Model, ModelCard, weights_sha256
from napari_fewshot_cells.models.model_file import read_card, read_model, write_model
from napari_fewshot_cells.models.networks import build_network, knows_contacts, learn_contacts
from napari_fewshot_cells.models.registry import NETWORKS


@pytest.fixture
def model():
    card = ModelCard(
        "mine",
        "unet",
        sources=({"name": "a", "licence": "CC0"},),
        hyper_parameters={"steps": 3},
        diameter=31.5,
        shots=("one.png", "zwölf.png"),
        k_shot=2,
    )
    return Model(card, build_network("unet", 3))


@pytest.mark.parametrize("architecture", sorted(NETWORKS))
@pytest.mark.parametrize("affine", [False, True])
def test_round_trip(tmp_path, architecture, affine):
    network = build_network(architecture, 1)
    if affine:
        learn_affine(network)
    path = write_model(Model(ModelCard("x", architecture), network), tmp_path / "x")
    read = read_model(path)
    assert path.name == "x.safetensors"
    assert read.card == ModelCard("x", architecture)
    state = network.state_dict()
    assert set(state) == set(read.network.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in read.network.state_dict().items())


@pytest.mark.parametrize("architecture", sorted(NETWORKS))
def test_what_was_read_is_laid_out_for_speed_and_computes_the_same_to_the_last_bit(tmp_path, architecture):
    network = build_network(architecture, 3).eval()
    read = read_model(write_model(Model(ModelCard("x", architecture), network), tmp_path / "x")).network
    for layer in (*read.parameters(), *fused(read).parameters()):
        assert layer.ndim != 4 or layer.is_contiguous(memory_format=torch.channels_last)
    image = torch.rand(1, 1, 72, 88)
    assert torch.equal(read(image)[0], network(image)[0])


def test_a_single_file_is_complete_and_the_card_beside_it_says_the_same(tmp_path, model):
    path = write_model(model, tmp_path / "m.safetensors")
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["shots"] == ["one.png", "zwölf.png"]
    path.with_suffix(".json").unlink()
    assert read_model(path).card == model.card


def damaged(tmp_path, model, what):
    path = write_model(model, tmp_path / "m.safetensors")
    state = safetensors.torch.load(
        path.read_bytes()
    )  # read, not memory-mapped: the file is overwritten below
    card = {"card": path.with_suffix(".json").read_text()}
    match what:
        case "truncated":
            path.write_bytes(path.read_bytes()[:2000])
        case "empty":
            path.write_bytes(b"")
        case "a pickle":
            torch.save(state, path)
        case "foreign":
            safetensors.torch.save_file(state, path)
        case "no JSON":
            safetensors.torch.save_file(state, path, metadata={"card": "{"})
        case "newer":
            card["card"] = card["card"].replace('"format": 1', '"format": 2')
            safetensors.torch.save_file(state, path, metadata=card)
        case "other network":
            card["card"] = card["card"].replace('"unet"', '"fcrn"')
            safetensors.torch.save_file(state, path, metadata=card)
        case "unknown network":
            card["card"] = card["card"].replace('"unet"', '"vgg"')
            safetensors.torch.save_file(state, path, metadata=card)
        case "NaN":
            state["head.bias"] = torch.tensor([torch.nan])
            safetensors.torch.save_file(state, path, metadata=card)
    return path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("truncated", "damaged or not a model file"),
        ("empty", "damaged or not a model file"),
        ("a pickle", "damaged or not a model file"),
        ("foreign", "not written by napari-fewshot-cells"),
        ("no JSON", "model card .* is damaged"),
        ("newer", "newer version"),
        ("other network", "do not fit"),
        ("unknown network", "unknown network 'vgg'"),
        ("NaN", "NaN"),
    ],
)
def test_unusable_files(tmp_path, model, what, message):
    with pytest.raises(ModelError, match=message) as caught:
        read_model(damaged(tmp_path, model, what))
    assert "m.safetensors" in str(caught.value)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("truncated", "damaged or not a model file"),
        ("empty", "damaged or not a model file"),
        ("a pickle", "damaged or not a model file"),
        ("foreign", "not written by napari-fewshot-cells"),
        ("no JSON", "model card .* is damaged"),
        ("newer", "newer version"),
        ("unknown network", "unknown network 'vgg'"),
    ],
)
def test_a_card_that_cannot_be_read(tmp_path, model, what, message):
    with pytest.raises(ModelError, match=message):
        read_card(damaged(tmp_path, model, what))


def test_a_card_is_read_without_its_weights(tmp_path, model):
    path = write_model(model, tmp_path / "m")
    assert read_card(path) == read_model(path).card == model.card
    with pytest.raises(ModelError, match="no model file"):
        read_card(tmp_path / "none.safetensors")


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = tmp_path / "m"
    write_atomically(path, b"old")

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m"]


def test_library(tmp_path, model):
    entry = library.save_model(model, "my cells (1)")
    assert entry.path.parent == library.library_dir()
    assert not entry.bundled
    assert library.load_model("my cells (1)").card.name == "my cells (1)"
    file = export_to("my cells (1)", tmp_path / "out")
    with pytest.raises(ModelError, match="exists"):
        export_to("my cells (1)", file)
    with pytest.raises(ModelError, match="library has a model"):
        library.import_model(file, "my cells (1)")
    library.delete_model("my cells (1)")
    with pytest.raises(ModelError, match="no model 'my cells"):
        library.delete_model("my cells (1)")
    assert library.import_model(file).name == "out"
    assert [e.name for e in library.list_models() if not e.bundled] == ["out"]


def test_rename_and_note(model):
    library.save_model(model, "a")
    library.save_model(model, "b")
    with pytest.raises(ModelError, match="library has a model 'b'"):
        library.rename_model("a", "b")
    entry = library.rename_model("a", "c")
    assert (entry.name, entry.card.name) == ("c", "c")
    assert library.rename_model("c", "c") == entry
    library.edit_note("c", "nuclei\nof mice")
    read = library.load_model("c")
    assert read.card.notes == "nuclei\nof mice"
    assert json.loads(entry.path.with_suffix(".json").read_text(encoding="utf-8"))["notes"] == read.card.notes
    assert all(
        torch.equal(value, read.network.state_dict()[k]) for k, value in model.network.state_dict().items()
    )
    assert sorted(file.name for file in library.library_dir().iterdir()) == [
        "b.json", "b.safetensors", "c.json", "c.safetensors"
    ]  # fmt: skip
    for change in (library.rename_model, library.edit_note):
        with pytest.raises(ModelError, match="came with the package"):
            change("fcrn", "x")


def test_bundled_models_are_first_and_cannot_be_changed(model, tmp_path):
    assert [e.name for e in library.list_models()] == ["half-unet", "fcrn", "unet"]
    for name in ("half-unet", "fcrn", "unet"):
        with pytest.raises(ModelError, match="cannot be deleted"):
            library.delete_model(name)
        with pytest.raises(ModelError, match="bundled"):
            library.save_model(model, name)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\nb"])
def test_names_that_no_file_can_have(model, name):
    with pytest.raises(ModelError, match="cannot name a model"):
        library.save_model(model, name)
    assert not library.library_dir().exists()


def test_no_such_model(tmp_path):
    with pytest.raises(ModelError, match=r"no model 'nobody'.*half-unet, fcrn, unet"):
        library.load_model("nobody")
    with pytest.raises(ModelError, match="no model file"):
        library.load_model(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("name", "command", "settings"),
    [
        ("fcrn", "transfer", {"by_set": True, "anneal": True}),
        ("unet", "transfer", {"by_set": True, "anneal": True}),
        ("half-unet", "transfer", {"by_set": True, "anneal": True}),
    ],
)
def test_bundled_cards_say_where_the_weights_come_from(name, command, settings):
    entry = next(e for e in library.list_models() if e.name == name)
    card = entry.card
    assert card.architecture == name
    names = [source["name"] for source in card.sources]
    assert names[:5] == ["B5", "B39", "ssTEM", "EM", "TNBC"]
    further = (library.bundled_dir() / "further-sources.toml").read_text(encoding="utf-8")
    assert len(names) == 5 + 9  # of the contact output
    assert all(f"[{name}]" in further or f"{name} = " in further for name in names[5:])
    assert all(source["licence"] for source in card.sources)
    assert "&& napari-fewshot-train contacts" in card.command
    assert card.command.startswith(f"napari-fewshot-train {command}")
    assert card.hyper_parameters.items() >= settings.items()
    assert card.hyper_parameters["seconds"] >= 1800
    assert card.hyper_parameters["contacts"]["iterations"] == 3000
    readable = json.loads(entry.path.with_suffix(".json").read_text(encoding="utf-8"))
    assert readable["date"] == card.date


LEAVE_ONE_OUT = Path(__file__).parents[2] / "pretrained" / "leave-one-out"


@pytest.mark.parametrize("architecture", ["fcrn", "unet"])
@pytest.mark.parametrize("target", ["B5", "B39", "ssTEM", "EM", "TNBC"])
def test_starts_of_the_complete_loss_are_in_half_precision_and_say_what_they_saw(architecture, target):
    path = LEAVE_ONE_OUT / f"{architecture}-without-{target}.safetensors"
    card = read_model(path).card
    assert card.architecture == architecture
    assert {source["name"] for source in card.sources} == {"B5", "B39", "ssTEM", "EM", "TNBC"} - {target}
    assert all(source["licence"] for source in card.sources)
    assert (card.hyper_parameters["alpha"], card.hyper_parameters["beta"]) == (0.01, 0.01)
    assert card.hyper_parameters["iterations"] > 0
    assert all((card.commit, card.command, card.machine, card.date))
    beside = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert beside["command"] == card.command
    weights = safetensors.torch.load_file(path)
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float16}


def test_a_score_goes_into_the_file_and_the_card_beside_it(model):
    entry = library.save_model(model, "mine")
    fingerprint = weights_sha256(library.load_model("mine"))
    library.note_score("mine", "Agrees with 97 %")
    read = library.load_model("mine")
    assert read.card.score == "Agrees with 97 %"
    assert read.card.shots == model.card.shots
    assert weights_sha256(read) == fingerprint
    assert (
        json.loads(entry.path.with_suffix(".json").read_text(encoding="utf-8"))["score"] == "Agrees with 97 %"
    )


def test_a_score_for_a_model_that_is_gone_brings_nothing_back(model):
    entry = library.save_model(model, "mine")
    library.delete_model("mine")
    library.note_score("mine", "Agrees with 97 %")
    assert not entry.path.exists()


def test_the_fingerprint_is_that_of_the_weights(model):
    assert weights_sha256(model) == weights_sha256(model.renamed("other"))
    assert weights_sha256(model) != weights_sha256(Model(model.card, build_network("unet", 4)))
    assert len(weights_sha256(model)) == 64


def test_a_name_that_is_taken_gets_a_number(model):
    assert library.unused_name("mine") == "mine"
    library.save_model(model, "mine")
    assert library.unused_name("mine") == "mine (2)"
    library.save_model(model, "mine (2)")
    assert library.unused_name("mine") == "mine (3)"


def test_the_contact_output_is_kept_with_its_threshold(tmp_path: Path) -> None:
    network = build_network("half-unet", seed=0)
    learn_contacts(network)
    network.contact_head.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    path = write_model(Model(ModelCard("cells", "half-unet", contact_logit=0.5), network), tmp_path / "cells")
    read = read_model(path)
    assert read.card.contact_logit == 0.5
    torch.testing.assert_close(read.network.contact_head.weight, network.contact_head.weight)
    plain = write_model(
        Model(ModelCard("plain", "half-unet"), build_network("half-unet", seed=0)), tmp_path / "p"
    )
    assert not knows_contacts(read_model(plain).network)
