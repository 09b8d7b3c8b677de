"""Few-shot adaptation from Python, on simulated cells."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from napari_fewshot_cells.base.bfloat16 import quick_passes
from napari_fewshot_cells.base.errors import AnnotationError
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.crops import Sample, sample_crops, to_sample
from napari_fewshot_cells.data.plane import normalise, to_plane
from napari_fewshot_cells.data.support_set import make_shot, make_support_set
from napari_fewshot_cells.finetune.calibration import calibrated_threshold
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models.batch_norm import store_statistics
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.prediction.metrics import iou
from napari_fewshot_cells.prediction.probability import predict
from napari_fewshot_cells.simulate import (
    electron_microscopy,
    fluorescent_cells,
    partial_annotation,
    scribbles,
)

QUICK = Recipe(steps=2, steps_per_shot=1, crops=2, crop_size=64)


@pytest.fixture(scope="module")
def start():
    return load_model("fcrn")


@pytest.fixture(scope="module")
def support():
    image, labels = fluorescent_cells((192, 192), seed=1)
    return make_support_set([make_shot(to_plane(image, "simulated"), partial_annotation(labels, seed=1))])


def states(model):
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_given_model_stays_untouched(start, support):
    before, card = states(start), start.card
    adapted = finish(fine_tune(start, support, recipe=QUICK))
    assert same(before, states(start))
    assert start.card == card
    assert not same(before, states(adapted))


def test_the_rate_is_lower_where_an_image_is_annotated_in_part(support):
    (part,) = [to_sample(shot, 1) for shot in support.shots]
    whole = Sample(part.image, part.target, np.ones_like(part.weight))
    outlined = replace(part, agreement=0.8)
    recipe = Recipe(lr=0.01, partial_factor=0.25, outlined_factor=0.5)
    assert recipe.lr_for([whole, whole]) == 0.01
    assert recipe.lr_for([part]) == recipe.lr_for([whole, part]) == recipe.lr_for([outlined, part]) == 0.0025
    assert recipe.lr_for([outlined]) == recipe.lr_for([whole, outlined]) == 0.005


def test_the_first_step_is_of_that_rate(start, support):
    """Adam's first step moves every weight by the rate, but for those with next to no gradient."""
    recipe = Recipe(steps=1, crops=2, crop_size=64, lr=0.01, partial_factor=0.25, weight_decay=0)
    before, after = states(start), states(finish(fine_tune(start, support, recipe=recipe)))
    moved = (after["head.weight"] - before["head.weight"]).abs()
    assert moved.median().item() == pytest.approx(0.0025, rel=0.01)


def test_same_seed_same_weights(start, support):
    runs = [states(finish(fine_tune(start, support, recipe=QUICK, seed=seed))) for seed in (1, 1, 2)]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_progress_tells_step_and_loss(start, support):
    events = list(fine_tune(start, support, recipe=QUICK))
    steps = [e for e in events if e.stage == "fine-tuning"]
    assert [(e.done, e.total) for e in steps] == [(1, 2), (2, 2)]
    assert all(np.isfinite(e.loss) and e.elapsed > 0 for e in steps)
    assert {e.stage for e in events} == {"fine-tuning", "calibrating", "predicting"}


def test_strokes_are_asked_about_before_the_first_step(start):
    image, labels = fluorescent_cells((192, 192), seed=1)
    strokes = make_support_set([make_shot(to_plane(image, "strokes"), scribbles(labels, seed=1))])
    stages = [event.stage for event in fine_tune(start, strokes, recipe=QUICK)]
    assert stages.index("outlining") < stages.index("fine-tuning")


def test_strokes_taught_twice_count_as_they_did_the_first_time():
    start = load_model("half-unet")
    image, labels = fluorescent_cells((192, 192), seed=1)
    strokes = make_support_set([make_shot(to_plane(image, "strokes"), scribbles(labels, seed=1))])
    first = finish(fine_tune(start, strokes, recipe=QUICK))
    agreement = first.card.hyper_parameters["agreement"]
    assert 0.6 <= agreement <= 1
    first = replace(first, card=replace(first.card, hyper_parameters={"agreement": 0.65}))
    assert finish(fine_tune(first, strokes, recipe=QUICK)).card.hyper_parameters["agreement"] == 0.65


def test_more_shots_and_strokes_get_more_steps(start, support):
    (part,) = [to_sample(shot, 1) for shot in support.shots]
    painted, stroked = replace(part, stroked=False), replace(part, stroked=True)
    assert [Recipe().steps_for([painted] * k_shot) for k_shot in (1, 5, 10)] == [60, 80, 105]
    assert [Recipe().steps_for([painted] * (k_shot - 1) + [stroked]) for k_shot in (1, 5)] == [90, 120]
    assert Recipe().with_steps(7).steps_for([stroked] * 5) == 7
    shots = []
    for seed in (1, 2, 3):
        image, labels = fluorescent_cells((96, 96), seed=seed)
        shots.append(make_shot(to_plane(image, str(seed)), labels, whole_image=True))
    events = list(fine_tune(start, make_support_set(shots), recipe=QUICK))
    assert [e.done for e in events if e.stage == "fine-tuning"] == [1, 2, 3, 4]


def test_cancelled_between_steps(start, support):
    before = states(start)
    steps = fine_tune(start, support)
    next(steps)
    steps.close()
    assert same(before, states(start))


def test_time_limit_ends_the_steps_early(start, support):
    adapted = finish(fine_tune(start, support, recipe=Recipe(steps=1000, crops=1, crop_size=32), seconds=0.5))
    assert 1 <= adapted.card.hyper_parameters["steps_done"] < 1000


def test_it_stops_when_told_and_keeps_what_it_has_learnt(start, support):
    asked = []

    def enough():
        asked.append(True)
        return len(asked) == 3

    recipe = replace(QUICK, steps=50)
    adapted = finish(fine_tune(start, support, recipe=recipe, stop=enough))
    assert adapted.card.hyper_parameters["steps_done"] == 3
    assert adapted.card.decision_logit != 0  # calibrated like any other
    assert not same(states(start), states(adapted))


def test_the_card_tells_how_it_was_made(start, support):
    card = finish(fine_tune(start, support, recipe=QUICK, seed=7)).card
    assert (card.k_shot, card.shots, card.parent, card.seed) == (1, ("simulated",), "fcrn", 7)
    assert card.diameter == pytest.approx(28, rel=0.3)
    assert card.hyper_parameters["lr"] == QUICK.lr
    assert card.sources == start.card.sources


def test_the_papers_plain_half_at_native_scale(start, support):
    recipe = Recipe(steps=1, crops=1, crop_size=64, rescale=False, calibrate=False)
    card = finish(fine_tune(start, support, recipe=recipe)).card
    assert card.factor == 1
    assert card.decision_logit == 0


def test_given_diameter_wins_and_is_kept_within_reason(start, support):
    assert finish(fine_tune(start, support, recipe=QUICK, diameter=56)).card.factor == 0.5
    assert finish(fine_tune(start, support, recipe=QUICK, diameter=0.1)).card.factor == 4


def test_annotation_that_vanishes_at_the_scale_of_its_objects(start):
    image, _ = fluorescent_cells((192, 192), seed=1)
    labels = np.zeros((192, 192), int)
    labels[50, 50], labels[100:160, 100:160] = 1, 2
    support = make_support_set([make_shot(to_plane(image, "thin"), labels)])
    with pytest.raises(AnnotationError, match="'thin' is too thin"):
        next(fine_tune(start, support, diameter=200))


def test_image_smaller_than_a_crop(start):
    image, labels = fluorescent_cells((192, 192), seed=1)
    row, column = np.argwhere(labels[24:-24, 20:-20])[0]
    window = np.s_[row : row + 48, column : column + 40]  # with a cell in its middle
    image, labels = image[window], labels[window]
    shot = make_shot(to_plane(image, "small"), labels, whole_image=True)
    adapted = finish(fine_tune(start, make_support_set([shot]), recipe=Recipe(steps=2, crops=2)))
    assert predict(adapted, shot.plane).shape == (48, 40)


@pytest.mark.parametrize("batch_norm", ["support", "image", "running"])
def test_fine_tuning_finds_the_cells_of_another_image(start, support, batch_norm):
    image, labels = fluorescent_cells((192, 192), seed=2)
    plane = to_plane(image, "other")
    adapted = finish(fine_tune(start, support, recipe=Recipe(steps=12, crops=4, batch_norm=batch_norm)))
    assert iou(predict(adapted, plane) > 0.5, labels) > 0.7


@pytest.mark.parametrize("batch_norm", ["support", "image", "running"])
def test_whose_statistics_predict(start, support, batch_norm):
    """Measured again on weights that stayed as they were, from the definition of each."""
    recipe = Recipe(steps=3, crops=2, crop_size=64, lr=0, rescale=False, calibrate=False, views=1)
    adapted = finish(fine_tune(start, support, recipe=replace(recipe, batch_norm=batch_norm)))
    assert adapted.card.batch_norm == batch_norm
    image, _ = fluorescent_cells((192, 192), seed=2)
    plane = to_plane(np.sqrt(image), "other")
    expected = copy.deepcopy(start.network)
    if batch_norm == "running":
        expected.train()
        rng = np.random.default_rng(0)
        samples = [to_sample(shot, 1) for shot in support.shots]
        with torch.no_grad(), quick_passes("cpu"):
            for _ in range(recipe.steps):
                expected(sample_crops(samples, 2, 64, rng).image)
    else:
        measured = {"support": support.shots[0].plane, "image": plane}[batch_norm]
        store_statistics(expected, [torch.from_numpy(normalise(measured))[None, None]])
    with torch.no_grad():
        logits = expected.eval()(torch.from_numpy(normalise(plane))[None, None])[0]
    np.testing.assert_allclose(predict(adapted, plane), torch.sigmoid(logits)[0, 0], atol=1e-4)


def test_the_threshold_is_calibrated_under_the_statistics_that_predict(start, support):
    """With each image's own: two shots of unlike domains have others than both together."""
    image, labels = electron_microscopy((192, 192), seed=3)
    other = make_shot(to_plane(image, "other"), labels, whole_image=True)
    both = make_support_set([*support.shots, other])
    recipe = Recipe(
        steps=1,
        crops=1,
        crop_size=64,
        lr=0,
        unpainted=False,
        refine=False,
        rescale=False,
        batch_norm="image",
        views=1,
    )
    adapted = finish(fine_tune(start, both, recipe=recipe))
    plain = replace(adapted, card=replace(adapted.card, decision_logit=0.0))
    samples = [to_sample(shot, 1) for shot in both.shots]
    probabilities = [predict(plain, shot.plane).astype(np.float64) for shot in both.shots]
    logits = [np.log(p / (1 - p)) for p in probabilities]
    wanted = calibrated_threshold(logits, samples, recipe.balance)
    assert adapted.card.decision_logit == pytest.approx(wanted, abs=0.13)
    together = finish(fine_tune(start, both, recipe=replace(recipe, batch_norm="support")))
    assert abs(together.card.decision_logit - adapted.card.decision_logit) > 0.6


def test_watching_changes_nothing_of_the_result(start, support):
    """Bit for bit: weights, statistics and threshold; the copies themselves move on from step to step."""
    recipe = replace(QUICK, steps=4)
    expected = finish(fine_tune(start, support, recipe=recipe))
    copies, peeks = [], []
    training = fine_tune(start, support, recipe=recipe, watch=peeks.append)
    while True:
        try:
            step = next(training)
        except StopIteration as end:
            watched = end.value
            break
        if step.stage == "fine-tuning":
            copies.append(peeks[0]())
            predict(copies[-1], support.shots[0].plane)
    assert same(states(expected), states(watched))
    assert watched.card.decision_logit == expected.card.decision_logit
    weights = [states(model)["head.weight"] for model in copies]
    assert all(not torch.equal(one, other) for one, other in pairwise(weights))
    assert torch.equal(weights[-1], states(watched)["head.weight"])
    assert copies[0].card.factor == watched.card.factor
    assert copies[0].card.mix == watched.card.mix


def test_a_watched_copy_finds_the_cells_in_the_middle_of_training(start, support):
    image, labels = fluorescent_cells((192, 192), seed=2)
    peeks = []
    training = fine_tune(start, support, recipe=Recipe(steps=12, crops=4), watch=peeks.append)
    while next(training).done < 11:
        pass
    assert iou(predict(peeks[0](), to_plane(image, "other")) > 0.5, labels) > 0.6
    training.close()


@pytest.mark.parametrize("batch_norm", ["support", "image", "running"])
def test_going_on_from_a_fine_tuned_model(start, batch_norm):
    """Scale, mix and statistics are found anew and not taken twice: without learning it predicts the same."""
    image, labels = fluorescent_cells((192, 192), seed=1)
    dark = make_support_set([make_shot(to_plane(-image, "dark cells"), partial_annotation(labels, seed=1))])
    recipe = replace(QUICK, batch_norm=batch_norm)
    parent = finish(fine_tune(start, dark, recipe=recipe, diameter=50)).renamed("parent")
    parent = replace(parent, card=replace(parent.card, score="good"))
    still = replace(recipe, lr=0) if batch_norm != "running" else replace(recipe, lr=0, steps=1, crops=1)
    child = finish(fine_tune(parent, dark, recipe=still, diameter=50))
    assert (child.card.parent, child.card.score) == ("parent", "")
    assert child.card.mix == parent.card.mix == (-1.0,)
    assert child.card.factor == parent.card.factor
    tolerance = 0.2 if batch_norm == "running" else 1e-3  # running averages move with every batch
    before, after = (predict(model, dark.shots[0].plane) for model in (parent, child))
    assert np.abs(before - after).mean() < tolerance
    other = finish(fine_tune(parent, dark, recipe=still, diameter=25))
    assert other.card.factor == pytest.approx(28 / 25)
