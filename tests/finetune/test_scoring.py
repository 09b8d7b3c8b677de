"""What is said of a model: known cases, and short trainings on simulated cells."""

from __future__ import annotations

import copy
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import SupportSet, make_shot, make_support_set
from napari_fewshot_cells.finetune import scoring
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.finetune.scoring import (
    Agreement,
    Score,
    agreement,
    annotated_windows,
    is_worse,
    leave_one_out,
    score,
)
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.prediction.probability import predict
from napari_fewshot_cells.simulate import fluorescent_cells, partial_annotation

QUICK = Recipe(steps=4, steps_per_shot=0, crops=2, crop_size=64, views=1)


@pytest.fixture(scope="module")
def start():
    return load_model("fcrn")


@pytest.fixture(scope="module")
def shots():
    made = []
    for seed in (1, 2, 3, 4):
        image, labels = fluorescent_cells((128, 128), seed=seed)
        made.append(make_shot(to_plane(image, f"image {seed}"), labels, whole_image=True))
    return made


def brightness_model():
    """Takes what is bright for a cell: its logit is the normalised grey value."""

    class Bright(type(build_network("fcrn", 0))):
        def encode_decode(self, x):
            return x, x

    return Model(ModelCard("bright", "fcrn"), Bright().eval())


def half_bright_shot(cells, background):
    """The left half bright; painted where the two masks say."""
    image = np.zeros((40, 40), np.float32)
    image[:, :20] = 1
    labels = np.zeros((40, 40), np.int32)
    labels[background], labels[cells] = 1, 2
    return make_shot(to_plane(image, "halves"), labels)


def test_agreement_of_a_known_case():
    # cells: 10 rows, 4 of whose 20 columns are dark; background: 5 rows, all dark
    shot = half_bright_shot(np.s_[:10, 4:24], np.s_[20:25, 20:])
    found = finish(agreement(brightness_model(), SupportSet((shot,))))
    assert found.share == pytest.approx((160 + 100) / 300)
    assert found.iou == pytest.approx(160 / 200, abs=1e-4)


def test_agreement_is_the_mean_iou_and_the_share_of_all_pixels():
    right = half_bright_shot(np.s_[:10, :20], np.s_[:10, 20:])
    wrong = half_bright_shot(np.s_[:2, 20:], np.s_[:2, :20])
    found = finish(agreement(brightness_model(), SupportSet((right, wrong))))
    assert found.iou == pytest.approx(0.5, abs=1e-4)
    assert found.share == pytest.approx(400 / 480)
    assert found.shares == pytest.approx((1, 0), abs=1e-4)


def test_what_is_not_annotated_does_not_count():
    image = np.random.default_rng(0).random((60, 60))
    labels = np.zeros((60, 60), int)
    labels[5, 5], labels[50, 50] = 2, 1
    image[5, 5], image[50, 50] = 2, -2
    found = finish(agreement(brightness_model(), SupportSet((make_shot(to_plane(image, "x"), labels),))))
    assert found == Agreement(1.0, 1.0, (1.0,))


def test_only_the_annotated_part_is_predicted_and_of_large_ones_the_middle():
    labels = np.zeros((500, 400), int)
    labels[10:20, 30:60], labels[40:50, 20:25] = 2, 1
    plane = to_plane(np.random.default_rng(0).random((500, 400)), "x")
    (window,) = annotated_windows(SupportSet((make_shot(plane, labels),)), 1.0)
    assert window == np.s_[10:50, 20:60]
    labels[400:, 300:] = 1
    (window,) = annotated_windows(SupportSet((make_shot(plane, labels),)), 4.0)
    assert [part.stop - part.start for part in window] == [256, 256]
    assert (labels[window] == 2).any()


def test_words():
    assert str(Score("painted", 0.968, 1)) == (
        "Agrees with 97 % of what you painted (that says little: it was trained on it)"
    )
    assert str(Score("left out", 0.812, 3, steps=12, full_steps=42)) == (
        "Left-out images: 0.81 IoU on average of 3 (short trainings without them: 12 of 42 steps)"
    )
    assert Score("painted", 0.968, 1).short == "97 % painted"
    assert Score("left out", 0.812, 3).short == "0.81 left out"
    assert Score("painted", 0.968, 2).number(0.936) == "94 %"
    assert Score("left out", 0.812, 3).number(0.777) == "0.78"


def test_worse_means_clearly_worse():
    def agreement_of(iou: float) -> Agreement:
        return Agreement(0.9, iou, (0.9,))

    assert is_worse(agreement_of(0.70), agreement_of(0.75))
    assert not is_worse(agreement_of(0.74), agreement_of(0.75))
    assert not is_worse(agreement_of(0.80), agreement_of(0.75))


def test_left_out_shots_are_not_trained_on(start, shots, monkeypatch):
    trained, measured = [], []

    def noting(function):
        def note(model, support, *args, **options):
            trained.append({shot.plane.name for shot in support.shots})
            return function(model, support, *args, **options)

        return note

    def look(model, support, **options):
        measured.append({shot.plane.name for shot in support.shots})
        return agreed(model, support, **options)

    agreed = scoring.agreement
    for name in ("to_samples", "prepare"):
        monkeypatch.setattr(scoring, name, noting(getattr(scoring, name)))
    monkeypatch.setattr(scoring, "agreement", look)
    before = {name: value.clone() for name, value in start.network.state_dict().items()}
    finish(leave_one_out(start, make_support_set(shots), recipe=QUICK))
    everything = trained.pop(0)  # for the diameter
    assert len(trained) == scoring.MOST_LEFT_OUT
    assert len(set.union(*measured)) == scoring.MOST_LEFT_OUT
    assert all(
        one | other == everything and not one & other for one, other in zip(trained, measured, strict=True)
    )
    assert all(torch.equal(value, before[name]) for name, value in start.network.state_dict().items())


def test_left_out_shots_of_one_kind_score_high_and_of_a_lie_low(start, shots):
    recipe = Recipe(steps=20, steps_per_shot=0, crops=4, crop_size=96)
    good = finish(leave_one_out(start, make_support_set(shots[:2]), recipe=recipe))
    assert (good.kind, good.images, good.steps, good.full_steps) == ("left out", 2, 8, 20)
    assert good.value > 0.6
    # what is a cell on one is background on the other: a training cannot know that of the one left out
    lie = make_shot(shots[1].plane, (shots[1].labels == 0).astype(int), whole_image=True)
    assert finish(leave_one_out(start, make_support_set([shots[0], lie]), recipe=recipe)).value < 0.3


def test_the_left_out_score_tells_of_other_images(start, shots):
    """It is near what the model does on images that nobody annotated."""
    recipe = Recipe(steps=25, steps_per_shot=0, crops=4, crop_size=96)
    told = finish(leave_one_out(start, make_support_set(shots[:3]), recipe=recipe)).value
    adapted = finish(fine_tune(start, make_support_set(shots[:3]), recipe=recipe))
    true = finish(agreement(adapted, SupportSet((shots[3],)))).iou
    assert told == pytest.approx(true, abs=0.2)


def test_time_is_limited_and_the_score_says_how_far_it_got(start, shots):
    recipe = Recipe(steps=5000, crops=1, crop_size=32)
    began = time.perf_counter()
    found = finish(leave_one_out(start, make_support_set(shots[:2]), recipe=recipe, seconds=1.0))
    assert time.perf_counter() - began < 20  # of which most is for a machine that is busy
    assert 1 <= found.steps < 1000
    assert f"{found.steps} of 5005 steps" in str(found)


def test_progress_and_cancel(start, shots):
    steps = leave_one_out(start, make_support_set(shots[:2]), recipe=QUICK)
    events = [next(steps) for _ in range(2)]
    steps.close()
    assert {event.stage for event in events} == {"left-out image 1 of 2"}


def test_which_score_is_told(start, shots):
    one, two = make_support_set(shots[:1]), make_support_set(shots[:2])
    model = finish(fine_tune(start, one, recipe=QUICK))
    assert finish(score(start, model, one, recipe=QUICK)).kind == "painted"
    assert finish(score(start, model, two, recipe=QUICK)).kind == "left out"
    # a start that was fine-tuned may have seen the shots that would be left out
    assert finish(score(model, model, two, recipe=QUICK)).kind == "painted"


@pytest.mark.parametrize("batch_norm", ["support", "image", "running"])
def test_agreement_is_that_of_the_prediction(start, shots, batch_norm):
    """With scale, mix, statistics and threshold as the card has them."""
    inverted = make_shot(to_plane(-shots[0].plane.pixels, "dark cells"), shots[0].labels, whole_image=True)
    support = make_support_set([inverted])
    model = finish(fine_tune(start, support, recipe=replace(QUICK, batch_norm=batch_norm), diameter=20))
    found = predict(model, inverted.plane) > 0.5
    told = finish(agreement(model, support))
    assert told.share == pytest.approx(np.mean(found == (inverted.target > 0)), abs=0.01)


def test_a_window_is_predicted_as_in_the_whole_plane(start):
    from napari_fewshot_cells.data.channel_mix import mix_channels
    from napari_fewshot_cells.data.plane import normalise
    from napari_fewshot_cells.prediction.probability import predict_window

    image, labels = fluorescent_cells((256, 256), seed=5)
    shot = make_shot(to_plane(image, "x"), partial_annotation(labels, seed=5))
    model = finish(fine_tune(start, make_support_set([shot]), recipe=QUICK, diameter=56))
    whole = predict(model, shot.plane)
    window = np.s_[64:192, 0:131]
    part = predict_window(model, normalise(mix_channels(shot.plane, model.card.mix)), window)
    assert part.shape == (128, 131)
    assert np.abs(part - whole[window]).mean() < 0.02
    untouched = copy.deepcopy(model.network.state_dict())
    assert all(torch.equal(value, untouched[name]) for name, value in model.network.state_dict().items())
