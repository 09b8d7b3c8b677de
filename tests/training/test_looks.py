"""Looks: other microscopes' views of the same objects."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fewshot_cells.crops import Batch
from napari_fewshot_cells.training.looks import Look, draw_look, shown

SIZE = 64


@pytest.fixture(scope="module")
def batch():
    """Discs at 1 on a background of -1."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    disc = ((rows - 32) ** 2 + (columns - 32) ** 2 < 15**2).astype(np.float32)
    target = torch.from_numpy(np.stack([disc, disc[::-1].copy()]))[:, None]
    return Batch(2 * target - 1, target, torch.ones_like(target))


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_plain_look_changes_nothing(batch):
    assert shown(batch, Look(), rng()) is batch


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_look_keeps_annotation_shape_and_finite_values(batch, seed):
    look = draw_look(rng(seed))
    result = shown(batch, look, rng(seed))
    assert result.image.shape == batch.image.shape
    assert result.image.dtype == torch.float32
    assert torch.isfinite(result.image).all()
    assert torch.equal(result.target, batch.target)
    assert torch.equal(result.weight, batch.weight)


def test_the_same_seed_gives_the_same_look_and_the_same_crops(batch):
    assert draw_look(rng(3)) == draw_look(rng(3))
    look = Look(shade=0.3, cell_texture=0.2)
    assert torch.equal(shown(batch, look, rng(3)).image, shown(batch, look, rng(3)).image)
    assert not torch.equal(shown(batch, look, rng(3)).image, shown(batch, look, rng(4)).image)


def test_some_looks_are_plain_and_others_differ():
    looks = [draw_look(rng(seed)) for seed in range(200)]
    plain = sum(look == Look() for look in looks)
    assert 40 <= plain <= 80  # three in ten
    assert len(set(looks)) == 200 - plain + 1


def test_gamma_is_that_of_the_unit_range(batch):
    grey = replace(batch, image=torch.full_like(batch.image, 0.5))  # 0.75 of the range
    np.testing.assert_allclose(shown(grey, Look(gamma=2.0), rng()).image, 2 * 0.75**2 - 1, rtol=1e-6)


def test_contrast_is_about_the_mean(batch):
    image = shown(batch, Look(contrast=0.5), rng()).image
    np.testing.assert_allclose(image.mean(), batch.image.mean(), atol=1e-6)
    np.testing.assert_allclose(image.std(), 0.5 * batch.image.std(), rtol=1e-5)


@pytest.mark.parametrize("grain", range(4))
def test_texture_has_the_strength_that_is_asked_for(batch, grain):
    grains = tuple(float(i == grain) for i in range(4))
    look = Look(grains=grains, cell_texture=0.4, background_texture=0.1)
    texture = shown(batch, look, rng()).image - batch.image
    cell = batch.target > 0
    np.testing.assert_allclose(texture[cell].std(), 0.4, rtol=0.35)
    np.testing.assert_allclose(texture[~cell].std(), 0.1, rtol=0.35)


def test_blur_is_a_gaussian(batch):
    from scipy.ndimage import gaussian_filter

    blurred = shown(batch, Look(blur=1.2), rng()).image
    expected = gaussian_filter(batch.image.numpy(), (0, 0, 1.2, 1.2), mode="mirror", radius=(0, 0, 4, 4))
    np.testing.assert_allclose(blurred.numpy(), expected, atol=1e-5)
