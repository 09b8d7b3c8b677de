"""Tiled prediction has no seams and accepts every size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.plane import normalise, to_plane
from napari_fewshot_cells.models.batch_norm import store_statistics
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.models.registry import NETWORKS
from napari_fewshot_cells.prediction.probability import logit_steps, predict, predict_cells, predict_steps


def random_model(architecture="fcrn", **card):
    network = build_network(architecture, 0)
    store_statistics(network, [torch.randn(2, 1, 96, 96)])
    return Model(ModelCard("random", architecture, **card), network.eval())


def random_plane(height, width, seed=0):
    return to_plane(np.random.default_rng(seed).random((height, width)), "random")


@pytest.mark.parametrize("architecture", sorted(NETWORKS))
@pytest.mark.parametrize("shape", [(200, 173), (96, 96), (64, 250)])
def test_tiles_equal_the_whole_image(architecture, shape):
    network, image = random_model(architecture).network, normalise(random_plane(*shape))
    tiled = finish(logit_steps(network, image, tile=64))
    whole = finish(logit_steps(network, image, tile=512))
    np.testing.assert_allclose(tiled, whole, atol=1e-4)
    assert np.std(whole) > 0.01


@pytest.mark.parametrize("shape", [(16, 16), (17, 400), (513, 33)])
@pytest.mark.parametrize("diameter", [None, 14.0, 60.0])
@pytest.mark.parametrize("batch_norm", ["support", "image"])
def test_any_size_and_scale(shape, diameter, batch_norm):
    probability = predict(random_model(diameter=diameter, batch_norm=batch_norm), random_plane(*shape))
    assert probability.shape == shape
    assert probability.dtype == np.float32
    assert 0 <= probability.min() <= probability.max() <= 1


def test_decision_lies_at_one_half():
    model, plane = random_model(), random_plane(64, 64)
    logits = finish(logit_steps(model.network, normalise(plane)))
    cut = float(np.quantile(logits, 0.8))
    calibrated = Model(replace(model.card, decision_logit=cut), model.network)
    np.testing.assert_array_equal(predict(calibrated, plane) > 0.5, logits > np.float32(cut))


@pytest.mark.parametrize("shape", [(64, 64), (70, 133)])
def test_views_are_the_mean_over_mirror_images(shape):
    model, plane = random_model(), random_plane(*shape)
    image = normalise(plane)

    def logits(axes):
        return np.flip(finish(logit_steps(model.network, np.flip(image, axes))), axes)

    expected = np.mean([logits(axes) for axes in ((), (0, 1), (0,), (1,))], axis=0)
    np.testing.assert_allclose(finish(logit_steps(model.network, image, views=4)), expected, atol=1e-5)
    turned = predict(Model(replace(model.card, views=4), model.network), to_plane(plane.pixels[::-1], "x"))
    here = predict(Model(replace(model.card, views=4), model.network), plane)
    np.testing.assert_allclose(turned[::-1], here, atol=1e-5)
    assert not np.allclose(predict(model, plane), here, atol=1e-3)  # the views do differ


def test_image_statistics_leave_the_model_untouched():
    model = random_model(batch_norm="image")
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    predict(model, random_plane(100, 100))
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items())


def test_image_statistics_make_contrast_irrelevant():
    plane = random_plane(100, 100)
    noisy = to_plane(plane.pixels * 7 + 100, "other units")
    model = random_model(batch_norm="image")
    np.testing.assert_allclose(predict(model, plane), predict(model, noisy), atol=1e-3)


@pytest.mark.parametrize(("shape", "tiles"), [((628, 513), 1), ((628, 900), 2), ((1025, 1279), 4)])
def test_a_side_that_is_little_longer_than_a_tile_is_one(shape, tiles):
    network = random_model("half-unet").network
    first = next(logit_steps(network, np.zeros(shape, np.float32)))
    assert (first.done, first.total) == (0, tiles)


def test_progress_and_cancel():
    steps = predict_steps(random_model(), random_plane(1500, 1000))
    events = [next(steps), next(steps)]
    assert [(e.done, e.total) for e in events] == [(0, 6), (1, 6)]
    assert events[0].remaining is None
    assert events[1].remaining > 0
    steps.close()


def test_contacts_can_be_kept_in_half_precision(touching_cells: Any) -> None:
    image, model = touching_cells
    maps = predict_cells(model, to_plane(image, "two"))
    assert maps.contact is not None
    assert maps.contact.dtype == np.float32
    np.testing.assert_array_equal(maps.contact, maps.contact.astype(np.float16))
    assert np.mean((maps.contact > 0.5) == (image == 255)) > 0.99
    np.testing.assert_array_equal(maps.probability, predict(model, to_plane(image, "two")))
