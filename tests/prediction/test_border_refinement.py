"""Border refinement at full resolution, fitted to fully annotated images and to strokes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom
from scipy.special import expit

from napari_fewshot_cells.base.errors import ModelError
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import make_shot, make_support_set
from napari_fewshot_cells.finetune import fine_tune as fine_tune_module
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.fit_borders import _logistic_regression, fit_refinement, fit_to_strokes
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.model import N_REFINEMENT_WEIGHTS, Model
from napari_fewshot_cells.models.model_file import read_model, write_model
from napari_fewshot_cells.prediction.border_refinement import border_features, refine_steps
from napari_fewshot_cells.prediction.metrics import iou
from napari_fewshot_cells.prediction.probability import predict
from napari_fewshot_cells.simulate import fluorescent_cells, partial_annotation, scribbles


def blurred_case(seed: int, size: int = 160):
    """The logit of bright blobs at an eighth of the resolution, their image, and their mask."""
    rng = np.random.default_rng(seed)
    mask = gaussian_filter(rng.normal(size=(size, size)), 8) > 0.02
    image = (mask + rng.normal(0, 0.1, mask.shape)).astype(np.float32)
    coarse = zoom(zoom(gaussian_filter(mask.astype(float), 3), 1 / 8), 8, order=1)
    return (12 * (coarse - 0.5)).astype(np.float32), image, mask.astype(np.float32)


def test_grey_values_tell_the_border_that_the_logit_misses() -> None:
    refinement = fit_refinement(*([part] for part in blurred_case(0)))
    logit, image, mask = blurred_case(1)
    refined = finish(refine_steps(logit, image, refinement))
    assert iou(refined > 0, mask) > iou(logit > 0, mask) + 0.05


def test_grey_values_that_tell_nothing_change_little() -> None:
    """The logit is right except for noise, and the image is pure noise."""
    rng = np.random.default_rng(0)
    masks = [blurred_case(seed)[2] for seed in (0, 1)]
    logits = [(4 * (2 * mask - 1) + rng.normal(0, 3, mask.shape)).astype(np.float32) for mask in masks]
    images = [rng.normal(size=mask.shape).astype(np.float32) for mask in masks]
    refinement = fit_refinement(logits[:1], images[:1], masks[:1])
    refined = finish(refine_steps(logits[1], images[1], refinement))
    assert iou(refined > 0, masks[1]) > iou(logits[1] > 0, masks[1]) - 0.01


@pytest.mark.parametrize(("k_shot", "noise", "trusted"), [(1, 3.0, True), (4, 3.0, True), (1, 30.0, False)])
def test_few_or_wrong_shots_leave_more_of_the_logit_as_it_is(
    k_shot: int, noise: float, trusted: bool
) -> None:
    """The same image k times gives the same fit; only its weight grows, with k and the odds of its IoU."""
    logit, image, mask = blurred_case(0, size=48)  # fewer pixels than are drawn, so that all are used
    rng = np.random.default_rng(0)
    image, logit = (part + rng.normal(0, noise, mask.shape).astype(np.float32) for part in (image, logit))
    learnt = np.array(fit_refinement([logit] * k_shot, [image] * k_shot, [mask] * k_shot))
    x = np.stack([feature.ravel() for feature in border_features(logit, image)], axis=1).astype(float)
    mean, spread = x.mean(axis=0), x.std(axis=0)
    bias, weights = _logistic_regression(
        np.tile((x - mean) / spread, (k_shot, 1)), np.tile(mask.ravel(), k_shot)
    )
    alone = np.r_[bias - mean @ (weights / spread), weights / spread]
    found, truth = x @ alone[1:] + alone[0] > 0, mask.ravel() > 0
    right, wrong = (found & truth).sum(), (found ^ truth).sum()
    assert (right / wrong > 4) == trusted
    says = k_shot * right / wrong / 4
    as_it_is = np.eye(N_REFINEMENT_WEIGHTS)[1]
    np.testing.assert_allclose(learnt, (says * alone + as_it_is) / (says + 1), rtol=1e-3, atol=1e-4)


def test_masks_that_are_learnt_without_fault_stay_finite() -> None:
    _, image, mask = blurred_case(0)
    refinement = fit_refinement([20 * (mask - 0.5)], [image], [mask])
    assert np.isfinite(refinement).all()


def lines(mask: np.ndarray) -> np.ndarray:
    """Strokes along every sixteenth row."""
    painted = np.zeros(mask.shape, bool)
    painted[8::16] = True
    return painted


def test_strokes_tell_the_border_and_the_threshold_that_the_logit_misses() -> None:
    logit, image, mask = blurred_case(0)
    refinement = fit_to_strokes([logit - 4], [image], [mask], [lines(mask)])
    logit, image, mask = blurred_case(1)
    refined = finish(refine_steps(logit - 4, image, refinement))
    best = max(iou(logit - 4 > threshold, mask) for threshold in np.linspace(-10, 2, 49))
    assert iou(refined > 0, mask) > best + 0.05 > iou(logit - 4 > 0, mask) + 0.1


@pytest.mark.parametrize("k_shot", [1, 4])
def test_strokes_count_as_much_as_the_logit_however_many(k_shot: int) -> None:
    """Each image alone would give the same fit."""
    logit, image, mask = blurred_case(0)
    painted = lines(mask)
    learnt = fit_to_strokes([logit] * k_shot, [image] * k_shot, [mask] * k_shot, [painted] * k_shot)
    x = np.stack([feature[painted] for feature in border_features(logit, image)], axis=1).astype(float)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    bias, weights = _logistic_regression(np.tile(z, (k_shot, 1)), np.tile(mask[painted], k_shot))
    weights = weights / x.std(axis=0)
    expected = (np.r_[bias - x.mean(axis=0) @ weights, weights] + np.eye(N_REFINEMENT_WEIGHTS)[1]) / 2
    np.testing.assert_allclose(learnt, expected, rtol=1e-3, atol=1e-4)


def test_what_is_not_painted_has_no_say() -> None:
    logit, image, mask = blurred_case(0)
    painted = lines(mask)
    other = np.where(painted, mask, 1 - mask).astype(np.float32)
    told = [fit_to_strokes([logit], [image], [target], [painted]) for target in (mask, other)]
    assert told[0] == told[1]


def test_strokes_refine_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only strokes that also run beside cells do; if there are complete masks, only the masks count."""
    image, labels = fluorescent_cells((192, 192), seed=5)
    plane = to_plane(image, "cells")
    stroked = make_shot(plane, scribbles(labels, seed=1))
    assert stroked.stroked
    recipe = Recipe(crops=2, crop_size=64).with_steps(12)
    model = finish(fine_tune(load_model("half-unet"), make_support_set([stroked]), recipe=recipe))
    assert model.card.refinement is not None
    assert iou(predict(model, plane) > 0.5, labels) > 0.9
    far = np.where(stroked.labels > 1, stroked.labels, 0)
    far[(labels == 0) & (distance_transform_edt(far == 0) > 40)] = 1  # not beside any cell
    elsewhere = make_shot(plane, far)
    assert elsewhere.stroked
    alone = finish(fine_tune(load_model("half-unet"), make_support_set([elsewhere]), recipe=recipe))
    assert alone.card.refinement is None
    whole = make_shot(plane, labels, whole_image=True)
    monkeypatch.delattr(fine_tune_module, "fit_to_strokes")
    mixed = finish(fine_tune(load_model("half-unet"), make_support_set([stroked, whole]), recipe=recipe))
    assert mixed.card.refinement is not None


def test_logistic_regression_is_where_its_gradient_is_zero() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(500, 3)), (rng.random(500) < 0.3).astype(np.float32)
    y[x[:, 0] > 1] = 1
    bias, weights = _logistic_regression(x, y)
    error = expit(bias + x @ weights) - y
    np.testing.assert_allclose([error.sum(), *(x.T @ error + weights)], 0, atol=1e-2)
    assert weights[0] > 5 * abs(weights[1:]).max()


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (90, 40)])
def test_strips_have_no_seams(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    logit, image = rng.normal(size=(2, *shape)).astype(np.float32)
    weights = tuple(rng.normal(size=N_REFINEMENT_WEIGHTS))
    whole = finish(refine_steps(logit, image, weights))
    monkeypatch.setattr("napari_fewshot_cells.prediction.border_refinement._STRIP", 7 * shape[1])
    steps = refine_steps(logit, image, weights)
    strips = sum(1 for _ in refine_steps(logit, image, weights))
    assert strips == -(-shape[0] // 7)
    np.testing.assert_allclose(finish(steps), whole, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def fine_tuned() -> tuple[Model, Model, object]:
    """Models fine-tuned on a complete and on a partial mask of the same image."""
    image, labels = fluorescent_cells((192, 192), seed=1)
    plane = to_plane(image, "simulated")
    shots = (make_shot(plane, labels, whole_image=True), make_shot(plane, partial_annotation(labels, seed=1)))
    recipe = Recipe(steps=12, crops=2, crop_size=64)
    whole, partly = (
        finish(fine_tune(load_model("fcrn"), make_support_set([shot]), recipe=recipe)) for shot in shots
    )
    return whole, partly, (plane, labels)


def test_cells_painted_in_their_shape_refine_nothing(fine_tuned) -> None:
    whole, partly, (plane, labels) = fine_tuned
    assert partly.card.refinement is None
    rough = replace(whole, card=replace(whole.card, refinement=None))
    assert iou(predict(whole, plane) > 0.5, labels) > iou(predict(rough, plane) > 0.5, labels)


def test_a_model_keeps_it_in_its_file_and_the_next_training_does_not(fine_tuned, tmp_path) -> None:
    whole, _, (plane, labels) = fine_tuned
    again = read_model(write_model(whole, tmp_path / "model.safetensors"))
    assert again.card.refinement == whole.card.refinement
    np.testing.assert_allclose(predict(again, plane), predict(whole, plane), atol=1e-5)
    strokes = make_support_set([make_shot(plane, partial_annotation(labels, seed=2))])
    copies: list = []
    step = Recipe(steps=1, crops=1, crop_size=64)
    onward = finish(fine_tune(again, strokes, recipe=step, watch=lambda peek: copies.append(peek())))
    assert onward.card.refinement is copies[0].card.refinement is None


@pytest.mark.parametrize("damage", [[1.0, 2.0], ["a"] * N_REFINEMENT_WEIGHTS, 3])
def test_a_damaged_one_is_an_error(fine_tuned, tmp_path, damage) -> None:
    broken = replace(fine_tuned[0], card=replace(fine_tuned[0].card, refinement=damage))
    json.dumps(asdict(broken.card))
    path = write_model(broken, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="card"):
        read_model(path)
