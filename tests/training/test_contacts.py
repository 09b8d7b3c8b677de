"""The contact output of a start: it learns where cells touch, and nothing else of the start changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_fewshot_cells.base.errors import ModelError
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.contacts import contact_zone
from napari_fewshot_cells.data.crops import CONTACT_RADIUS
from napari_fewshot_cells.datasets.own_sets import choose_touching_sources
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.model_file import read_model, write_model
from napari_fewshot_cells.training import contacts
from napari_fewshot_cells.training.budget import Budget
from napari_fewshot_cells.training.config import ContactConfig
from napari_fewshot_cells.training.contacts import contact_train, draw_contacts, read_cells

CONFIG = ContactConfig(batch=2, crop_size=48, warm_up=4)


@pytest.fixture(scope="module")
def touching(own_sources):
    return choose_touching_sources(None, "none", [str(own_sources / n) for n in ("nuclei", "phase")])


@pytest.fixture(scope="module")
def start():
    model = load_model("half-unet")
    model.network.contact_head = None  # a start that has not learned contacts
    return model


def train(start, sources, steps, config=CONFIG):
    """The losses of the steps, and the model."""
    losses = []
    run = contact_train(start, sources, config, Budget(meta_steps=steps), command="contacts")
    while True:
        try:
            losses.append(next(run).loss)
        except StopIteration as end:
            return losses, end.value


def head_of(model):
    return {name: value for name, value in model.network.state_dict().items() if "contact_head" in name}


def test_the_loss_falls(start, touching):
    losses, _ = train(start, touching, 60)
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:4])


@pytest.mark.parametrize("name", ["half-unet", "unet", "fcrn"])
def test_only_the_contact_output_changes(tmp_path, touching, name):
    start = load_model(name)
    start.network.contact_head = None
    before = {key: value.clone() for key, value in start.network.state_dict().items()}
    image = torch.from_numpy(np.random.default_rng(0).random((1, 1, 64, 64), np.float32))
    with torch.no_grad():
        logits, _ = start.network(image)
    _, model = train(start, touching, 2)
    path = write_model(model, tmp_path / "learned.safetensors")
    for learned in (model, read_model(path)):
        state = learned.network.state_dict()
        assert state.keys() - before.keys() == head_of(learned).keys() != set()
        assert all(torch.equal(state[key], value) for key, value in before.items())  # statistics, too
        assert any(value.any() for value in head_of(learned).values())
        with torch.no_grad():
            assert torch.equal(learned.network(image)[0], logits)
            assert torch.equal(learned.network.with_contacts(image)[:, :1], logits)
    assert all(parameter.requires_grad for parameter in model.network.parameters())
    assert start.network.contact_head is None  # the start given is left as it was
    assert all(torch.equal(start.network.state_dict()[key], value) for key, value in before.items())


def test_the_same_seed_gives_the_same_head(start, touching):
    one, same, other = (
        head_of(train(start, touching, 3, replace(CONFIG, seed=seed))[1]) for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_start_with_the_output_continues_with_it(start, touching):
    losses, model = train(start, touching, 60)
    further, _ = train(model, touching, 4)
    assert np.mean(further) < 0.8 * np.mean(losses[:4])


def test_sets_take_turns(start, touching, monkeypatch):
    drawn = []

    def draw(images, config, rng):
        drawn.append(images)
        return draw_contacts(images, config, rng)

    monkeypatch.setattr(contacts, "draw_contacts", draw)
    train(start, touching, 4)
    assert drawn[0] is drawn[2]
    assert drawn[1] is drawn[3]
    assert drawn[0] is not drawn[1]


def test_the_learning_rate_rises_and_falls():
    rate = ContactConfig().lr_at
    assert rate(0, 0.0) == pytest.approx(0.05 * 1e-2)
    assert rate(100, 0.0) == pytest.approx(0.55 * 1e-2)
    assert rate(1000, 0.5) == pytest.approx(0.5 * 1e-2)
    assert rate(9000, 1.0) == pytest.approx(0)


def test_crops_know_contacts_inside_cells_at_the_networks_scale(touching, monkeypatch):
    monkeypatch.setattr(contacts, "augment_crop", lambda stack, rng: stack)
    images = read_cells(touching[0], CONFIG, 28.0)
    assert len(images) == 3
    assert {image.pixels.dtype for image in images} == {np.dtype(np.float16)}
    # a crop of an image of exactly its size is the whole image
    whole = replace(CONFIG, batch=6, crop_size=96, scale_jitter=1.0)
    at_scale = [replace(image, factor=1.0) for image in images]
    batch = draw_contacts(at_scale, whole, np.random.default_rng(0))
    assert batch.image.shape == batch.target.shape == batch.weight.shape == (6, 1, 96, 96)
    seen = 0
    for i, pixels in enumerate(batch.image[:, 0].numpy()):
        (image,) = (image for image in images if np.array_equal(image.pixels.astype(np.float32), pixels))
        zone = contact_zone(image.cells, CONTACT_RADIUS)
        assert np.array_equal(batch.target[i, 0].numpy(), zone)
        assert np.array_equal(batch.weight[i, 0].numpy(), zone | (image.cells > 0))
        seen += zone.sum()
    assert seen > 0


def test_beyond_the_image_nothing_counts(touching, monkeypatch):
    monkeypatch.setattr(contacts, "augment_crop", lambda stack, rng: stack)
    images = [replace(image, factor=1.0) for image in read_cells(touching[0], CONFIG, 28.0)]
    config = replace(CONFIG, crop_size=128, scale_jitter=1.0)
    batch = draw_contacts(images, config, np.random.default_rng(0))
    assert batch.weight[:, :, 98:].sum() == batch.weight[..., 98:].sum() == 0  # contacts reach 2 px further
    assert batch.weight[:, :, :96, :96].sum() > 0
    assert batch.image[:, :, 96:].any()


def test_at_most_so_many_images_are_read_and_the_seed_chooses(touching):
    chosen = [
        read_cells(touching[0], replace(CONFIG, images=1, seed=seed), 28.0)[0].pixels.tobytes()
        for seed in range(8)
    ]
    assert len(set(chosen)) > 1
    assert chosen[0] == read_cells(touching[0], replace(CONFIG, images=1), 28.0)[0].pixels.tobytes()


def test_the_card_keeps_what_the_start_was_and_adds_what_it_learned(start, touching):
    (nuclei, phase) = touching
    known = replace(nuclei, name=start.card.sources[0]["name"])
    _, model = train(start, [known, replace(phase, licence="CC0", citation="We")], 2)
    card = model.card
    assert card.sources[:-1] == start.card.sources
    assert card.sources[-1] == {"name": "phase", "images": 3, "licence": "CC0", "citation": "We"}
    settings = dict(card.hyper_parameters)
    learned = settings.pop("contacts")
    earlier = {k: v for k, v in start.card.hyper_parameters.items() if k != "contacts"}
    assert settings == earlier
    assert {k: learned[k] for k in ("lr", "batch", "images", "seed", "iterations")} == {
        "lr": 1e-2,
        "batch": 2,
        "images": 24,
        "seed": 0,
        "iterations": 2,
    }
    assert learned["seconds"] >= 0
    assert card.command == f"{start.card.command} && contacts"
    assert card.commit.startswith(start.card.commit)
    assert card.machine.startswith(start.card.machine)
    assert card.date > start.card.date
    assert card.notes.startswith(start.card.notes)
    assert card.notes.endswith(f"Contact output trained on {known.name}, phase.")
    assert (
        replace(
            card,
            sources=start.card.sources,
            hyper_parameters=start.card.hyper_parameters,
            command=start.card.command,
            commit=start.card.commit,
            machine=start.card.machine,
            date=start.card.date,
            notes=start.card.notes,
        )
        == start.card
    )


def test_minutes_end_a_run(start, touching):
    run = contact_train(start, touching[:1], CONFIG, Budget(minutes=1e-5), command="")
    assert finish(run).card.hyper_parameters["contacts"]["iterations"] == 1


def test_a_network_that_cannot_have_the_output_is_refused(touching):
    plain = torch.nn.Conv2d(1, 1, 1)
    with pytest.raises(ModelError, match="cannot learn where cells touch; start from half-unet"):
        train(Model(ModelCard("plain", "plain"), plain), touching, 1)
