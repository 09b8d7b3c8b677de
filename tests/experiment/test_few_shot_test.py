"""The few-shot test: how it fine-tunes on the selected images, and what it measures on the others."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.support_set import SupportSet
from napari_fewshot_cells.experiment.few_shot_test import few_shot_iou, few_shot_steps, select
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.paper_recipe import paper_fine_tune
from napari_fewshot_cells.finetune.recipe import PaperRecipe, Recipe
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.prediction.metrics import iou
from napari_fewshot_cells.prediction.probability import predict

RECIPES = {
    "button": Recipe(steps=3, crops=2, crop_size=64, refine=False),
    "paper": PaperRecipe(epochs=1, batch=4, crop_size=64, stride=32, min_foreground=50, lr=1e-3),
}


@pytest.fixture(scope="module")
def start():
    return Model(ModelCard("start", "fcrn"), build_network("fcrn", 0))


@given(n_images=st.integers(11, 60), selection=st.integers(0, 20))
def test_selections_are_nested_and_never_tested_on(n_images, selection):
    supports, tests = zip(*(select(n_images, k, selection) for k in (1, 3, 5, 7, 10)), strict=True)
    for smaller, larger in pairwise(supports):
        assert larger[: len(smaller)] == smaller
    assert all(test == tests[0] for test in tests)
    assert sorted(supports[-1] + tests[0]) == list(range(n_images))
    assert select(n_images, 3, selection, n_test=1)[1] == tests[0][:1]


@pytest.mark.parametrize("name", RECIPES)
def test_measured_as_defined(start, tasks, name):
    """Compare with a fine-tuning by the recipe's own function and the mean IoU over the test images."""
    target, recipe, support, test = tasks[0], RECIPES[name], (2,), (0, 1)
    result = few_shot_iou(start, target, support, test, recipe=recipe, seed=4)
    adapt = fine_tune if name == "button" else paper_fine_tune
    shots = SupportSet(tuple(target.shots[i] for i in support))
    model = finish(adapt(start, shots, recipe=recipe, seed=4))
    plain = replace(model, card=replace(model.card, decision_logit=0.0))
    for measured, of in ((result.iou, model), (result.plain_iou, plain)):
        ious = [iou(predict(of, target.shots[i].plane) > 0.5, target.shots[i].labels) for i in test]
        assert measured == pytest.approx(np.mean(ious), abs=1e-3)
    assert result.seconds > 0


def test_the_example_is_the_first_test_image(start, tasks):
    target = tasks[1]
    result = few_shot_iou(start, target, (0,), (2, 1), recipe=RECIPES["button"])
    example, shot = result.example, target.shots[2]
    assert example.image.dtype == np.uint8
    assert example.truth.dtype == example.predicted.dtype == np.bool_
    np.testing.assert_array_equal(example.truth, shot.labels > 0)
    grey = shot.plane.pixels
    assert np.corrcoef(example.image.ravel(), grey.ravel())[0, 1] > 0.98
    only = few_shot_iou(start, target, (0,), (2,), recipe=RECIPES["button"])
    assert iou(example.predicted, example.truth) == pytest.approx(only.iou)


def test_progress_distinguishes_fine_tuning_from_testing(start, tasks):
    events = list(few_shot_steps(start, tasks[0], (2,), (0, 1), recipe=RECIPES["paper"]))
    assert {event.stage for event in events} == {"fine-tuning", "testing"}
    assert [(e.done, e.total) for e in events if e.stage == "testing"] == [(0, 2), (1, 2)]


def test_no_image_to_test_on(start, tasks):
    with pytest.raises(ValueError, match="no image to test on"):
        few_shot_iou(start, tasks[0], (0,), (), recipe=RECIPES["button"])
