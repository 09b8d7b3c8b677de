"""The paper's fine-tuning: epochs over stride crops, what FCRN learns, and whose statistics predict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.plane import normalise
from napari_fewshot_cells.data.stride_crops import stride_crops
from napari_fewshot_cells.data.support_set import SupportSet, median_diameter
from napari_fewshot_cells.finetune.paper_recipe import INITIAL_SCALE, paper_fine_tune
from napari_fewshot_cells.finetune.recipe import PaperRecipe
from napari_fewshot_cells.models.batch_norm import learn_affine, norm_layers, store_statistics
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.model_file import read_model, write_model
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.prediction.metrics import iou
from napari_fewshot_cells.prediction.probability import predict

QUICK = PaperRecipe(epochs=2, batch=4, crop_size=64, stride=32, min_foreground=50)


def start(architecture="fcrn"):
    return Model(ModelCard("start", architecture, batch_norm="image"), build_network(architecture, 0))


@pytest.fixture(scope="module")
def support(tasks):
    return SupportSet(tasks[0].shots[:2])


@pytest.fixture(scope="module")
def adapted(support):
    return finish(paper_fine_tune(start(), support, recipe=QUICK))


def test_defaults_are_the_papers():
    paper = PaperRecipe()
    assert (paper.epochs, paper.batch, paper.crop_size, paper.min_foreground) == (20, 64, 256, 360)
    assert (paper.lr, paper.weight_decay, paper.batch_norm) == (1e-4, 5e-4, "image")
    assert not paper.rescale
    assert not paper.calibrate


def test_every_epoch_sees_every_crop_once(tasks, support, monkeypatch):
    crops = stride_crops(tasks[0].samples[:2], 64, 32, 50)
    seen = []

    def weighted_bce(logits, target, weight):
        seen.append(len(target))
        return (logits * weight).mean()

    monkeypatch.setattr("napari_fewshot_cells.finetune.paper_recipe.weighted_bce", weighted_bce)
    events = list(paper_fine_tune(start(), support, recipe=QUICK))
    assert sum(seen) == QUICK.epochs * len(crops)
    assert max(seen) == QUICK.batch
    assert [event.done for event in events] == list(range(1, len(seen) + 1))
    assert {event.total for event in events} == {len(seen)}


def test_fcrn_learns_scale_and_shift_from_a_tenth_and_zero(support):
    still = finish(paper_fine_tune(start(), support, recipe=replace(QUICK, lr=0)))
    for layer in norm_layers(still.network):
        assert layer.weight.eq(INITIAL_SCALE).all()
        assert layer.bias.eq(0).all()


def test_they_are_learnt(adapted):
    assert any(not layer.weight.eq(INITIAL_SCALE).all() for layer in norm_layers(adapted.network))
    assert any(not layer.bias.eq(0).all() for layer in norm_layers(adapted.network))


@pytest.mark.parametrize(
    ("architecture", "recipe"), [("unet", QUICK), ("fcrn", replace(QUICK, learn_affine=False))]
)
def test_unet_never_does_and_fcrn_need_not(support, architecture, recipe):
    model = finish(paper_fine_tune(start(architecture), support, recipe=replace(recipe, epochs=1)))
    assert not any(layer.affine for layer in norm_layers(model.network))


def test_a_model_that_learnt_them_goes_on_from_there(support, adapted):
    again = finish(paper_fine_tune(adapted, support, recipe=replace(QUICK, lr=0)))
    for before, after in zip(norm_layers(adapted.network), norm_layers(again.network), strict=True):
        assert torch.equal(before.weight, after.weight)


def test_the_model_is_saved_read_and_predicts_the_same(adapted, tasks, tmp_path):
    read = read_model(write_model(adapted, tmp_path / "paper"))
    assert read.card == adapted.card
    plane = tasks[0].shots[2].plane
    np.testing.assert_allclose(predict(read, plane), predict(adapted, plane), atol=1e-5)


def test_the_start_stays_and_the_same_seed_gives_the_same_weights(support):
    model = start()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    runs = [
        finish(
            paper_fine_tune(model, support, recipe=replace(QUICK, epochs=1), seed=seed)
        ).network.state_dict()
        for seed in (1, 1, 2)
    ]
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    assert all(torch.equal(value, runs[1][name]) for name, value in runs[0].items())
    assert not all(torch.equal(value, runs[2][name]) for name, value in runs[0].items())


def test_the_card_says_how(adapted):
    card = adapted.card
    assert (card.k_shot, card.parent, card.factor, card.decision_logit) == (2, "start", 1, 0)
    assert card.hyper_parameters["epochs"] == QUICK.epochs
    assert card.batch_norm == "image"


def test_it_learns(tasks, support):
    recipe = replace(QUICK, epochs=6, lr=3e-3)
    model = finish(paper_fine_tune(start(), support, recipe=recipe))
    shot = tasks[0].shots[2]
    assert iou(predict(model, shot.plane) > 0.5, shot.labels) > 0.6
    assert iou(predict(start(), shot.plane) > 0.5, shot.labels) < 0.5


def test_the_threshold_is_a_half_or_calibrated_on_the_shots(support):
    """The same weights either way."""
    recipe = replace(QUICK, epochs=4, lr=3e-3)
    plain, calibrated = (
        finish(paper_fine_tune(start(), support, recipe=replace(recipe, calibrate=calibrate)))
        for calibrate in (False, True)
    )
    for value, other in zip(calibrated.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(value, other)
    assert plain.card.decision_logit == 0
    assert calibrated.card.decision_logit != 0
    ious = [
        np.mean([iou(predict(model, shot.plane) > 0.5, shot.labels) for shot in support.shots])
        for model in (plain, calibrated)
    ]
    assert ious[1] > ious[0]


def test_objects_can_be_brought_to_one_diameter(support, adapted):
    rescaled = finish(paper_fine_tune(start(), support, recipe=replace(QUICK, rescale=True)))
    assert rescaled.card.diameter == pytest.approx(median_diameter(support))
    assert adapted.card.diameter == adapted.card.canonical_diameter != rescaled.card.diameter


def test_whose_statistics_predict(tasks, support):
    """Same weights: "support" stores those of the shots, "image" measures anew, "running" keeps PyTorch's."""
    models = {
        name: finish(paper_fine_tune(start(), support, recipe=replace(QUICK, batch_norm=name)))
        for name in ("support", "image", "running")
    }
    assert {name: model.card.batch_norm for name, model in models.items()} == {name: name for name in models}
    plane = tasks[1].shots[0].plane  # another domain: its own statistics are others
    image = torch.from_numpy(normalise(plane))[None, None]

    own = models["support"].network
    shots = [torch.from_numpy(normalise(shot.plane))[None, None] for shot in support.shots]
    expected = {}
    for name, batches in {"support": shots, "image": [image]}.items():
        store_statistics(own, batches)
        with torch.no_grad():
            expected[name] = torch.sigmoid(own.eval()(image)[0])[0, 0].numpy()
    with torch.no_grad():
        expected["running"] = torch.sigmoid(models["running"].network.eval()(image)[0])[0, 0].numpy()
    store_statistics(own, shots)
    for name, model in models.items():
        np.testing.assert_allclose(predict(model, plane), expected[name], atol=1e-5)
    assert np.abs(expected["support"] - expected["image"]).max() > 0.01
    assert np.abs(expected["support"] - expected["running"]).max() > 0.01


def test_running_statistics_are_pytorchs_exponential_averages(support):
    """One crop, seen twice with frozen weights: 1 − 0.9² of its mean, the rest from the start's zero."""
    one = SupportSet(support.shots[:1])
    recipe = PaperRecipe(epochs=2, batch=4, crop_size=128, stride=128, lr=0, batch_norm="running")
    model = finish(paper_fine_tune(start("unet"), one, recipe=recipe))
    fresh = build_network("unet", 0)
    image = torch.from_numpy(normalise(one.shots[0].plane))[None, None]
    first_conv = next(m for m in fresh.modules() if isinstance(m, torch.nn.Conv2d))
    mean = first_conv(image).mean(dim=(0, 2, 3))
    torch.testing.assert_close(next(norm_layers(model.network)).running_mean, mean * (1 - 0.9**2))


def test_initial_scale_of_learn_affine():
    network = build_network("fcrn", 0)
    learn_affine(network, scale=0.25)
    learn_affine(network, scale=0.5)
    assert all(layer.weight.eq(0.25).all() and layer.bias.eq(0).all() for layer in norm_layers(network))


def test_precision_is_of_the_passes_alone(support, adapted):
    """Weights stay float32; they come out a little other."""
    quick = finish(paper_fine_tune(start(), support, recipe=replace(QUICK, precision="bf16-mixed")))
    assert quick.card.hyper_parameters["precision"] == "bf16-mixed"
    for name, value in quick.network.state_dict().items():
        expected = adapted.network.state_dict()[name]
        assert value.dtype == expected.dtype
    assert any(
        not torch.equal(value, adapted.network.state_dict()[name])
        for name, value in quick.network.named_parameters()
    )
