"""Crops around annotated pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fewshot_cells.data.crops import REACH, Sample, nearest, sample_crops, to_sample, with_contacts
from napari_fewshot_cells.data.plane import normalise, to_plane
from napari_fewshot_cells.data.support_set import make_shot


def sample(height, width, seed=0, annotated=0.3):
    rng = np.random.default_rng(seed)
    image = rng.random((height, width)).astype(np.float32)
    target = (image > 0.7).astype(np.float32)
    return Sample(image, target, (rng.random((height, width)) < annotated).astype(np.float32))


@settings(deadline=None, max_examples=30)
@given(height=st.integers(16, 90), width=st.integers(16, 90), seed=st.integers(0, 99))
def test_crops_of_any_image_keep_image_target_and_weight_together(height, width, seed):
    batch = sample_crops([sample(height, width)], 4, 64, np.random.default_rng(seed), augment=False)
    for part in (batch.image, batch.target, batch.weight):
        assert part.shape == (4, 1, 64, 64)
    np.testing.assert_array_equal(batch.target.numpy(), batch.image.numpy() > np.float32(0.7))
    assert (batch.weight.sum(dim=(1, 2, 3)) > 0).all()


def test_mirrored_pixels_have_no_weight():
    batch = sample_crops([sample(20, 30, annotated=2)], 1, 64, np.random.default_rng(0), augment=False)
    assert batch.weight[0, 0, :20, :30].all()
    assert batch.weight.sum() == 20 * 30


@pytest.mark.parametrize("augment", [False, True])
def test_what_is_unpainted_lies_in_the_image_and_is_not_painted(augment):
    """Neither mirrored pixels nor pixels of a fully annotated image count as unpainted."""
    partly, whole = sample(20, 30), sample(20, 30, annotated=2)
    partly.target[:] = 0
    batch = sample_crops([partly, whole], 2, 64, np.random.default_rng(0), augment=augment)
    unpainted = sorted(batch.unpainted.sum(dim=(1, 2, 3)).tolist())
    assert unpainted == [0, 600 - partly.weight.sum()]
    assert not (batch.unpainted * batch.weight).any()


def test_what_may_belong_to_a_painted_cell_is_not_unpainted():
    """A dab in the middle of a cell says nothing about the cell's rim."""
    target, weight = np.zeros((2, 90, 90), np.float32)
    target[40:50, 40:50] = weight[40:50, 40:50] = weight[80:] = 1
    dab = Sample(np.zeros_like(target), target, weight)
    rows, columns = np.mgrid[:90, :90]
    cells = np.argwhere(target * weight > 0)
    distance = np.min([np.hypot(rows - row, columns - column) for row, column in cells], axis=0)
    np.testing.assert_array_equal(dab.unpainted, (distance > REACH) & (weight == 0))


def test_augmentation_moves_all_three_alike():
    whole = sample(64, 64, annotated=2)
    batch = sample_crops([whole], 8, 64, np.random.default_rng(0))
    for image, target in zip(batch.image.numpy(), batch.target.numpy(), strict=True):
        assert image[target > 0].min() > image[target == 0].max()  # any gain > 0 keeps the order


def test_every_image_is_seen_equally_often():
    samples = [Sample(np.full((70, 70), i, np.float32), *np.ones((2, 70, 70), np.float32)) for i in range(4)]
    batch = sample_crops(samples, 8, 32, np.random.default_rng(0), augment=False)
    assert np.bincount(batch.image[:, 0, 0, 0].numpy().astype(int)).tolist() == [2, 2, 2, 2]


def test_every_other_crop_holds_foreground():
    target = np.zeros((400, 400), np.float32)
    target[200, 200] = 1
    rare = Sample(np.zeros((400, 400), np.float32), target, np.ones((400, 400), np.float32))
    batch = sample_crops([rare], 20, 64, np.random.default_rng(0))
    assert (batch.target.sum(dim=(1, 2, 3)) > 0).sum() >= 10


def test_same_seed_same_crops():
    one, two = (sample_crops([sample(80, 80)], 4, 32, np.random.default_rng(5)) for _ in range(2))
    assert (one.image == two.image).all()


def test_sample_at_native_scale_is_the_shot():
    plane = to_plane(np.random.default_rng(0).random((40, 50)), "x")
    labels = np.zeros((40, 50), int)
    labels[:5], labels[20:30, 20:30] = 1, 2
    shot = make_shot(plane, labels)
    result = to_sample(shot, 1)
    np.testing.assert_array_equal(result.image, normalise(plane))
    np.testing.assert_array_equal(result.target, shot.target)
    np.testing.assert_array_equal(result.weight, shot.weight)


@pytest.mark.parametrize("factor", [0.5, 1.7])
def test_rescaled_annotation_stays_binary_and_in_place(factor):
    labels = np.zeros((60, 60), int)
    labels[:10], labels[30:50, 20:40] = 1, 2
    plane = to_plane(np.random.default_rng(0).random((60, 60)), "x")
    result = to_sample(make_shot(plane, labels), factor)
    assert set(np.unique(result.target)) == set(np.unique(result.weight)) == {0, 1}
    assert result.target.sum() == pytest.approx(400 * factor**2, rel=0.1)
    assert result.weight.sum() == pytest.approx(1000 * factor**2, rel=0.1)
    assert (result.weight[result.target > 0] == 1).all()


def test_how_much_of_the_background_is_beside_painted_cells() -> None:
    """Background within half a cell of painted cells counts; pseudo-labels around the paint do not matter."""
    target, weight = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)
    target[20, 10:30] = weight[20, 10:30] = 1
    weight[34, 10:20] = 1  # 14 px below
    weight[35, 20:25] = 1  # 15 px below
    weight[60, 10:15] = 1
    target[21:28, 10:30], weight[21:28, 10:30] = 1, 0.2
    sample = Sample(np.zeros((64, 64), np.float32), target, weight)
    assert sample.background_near_cells == pytest.approx(0.5)
    assert replace(sample, target=np.zeros_like(target)).background_near_cells == 0


def test_crops_of_touching_cells_carry_their_contacts() -> None:
    labels = np.zeros((96, 96), np.int32)
    labels[20:70, 20:45], labels[20:70, 45:70] = 1, 2
    touching, alone = (
        with_contacts(to_sample(make_shot(to_plane(cells + 0.0, "cells"), cells, whole_image=True), 1), cells)
        for cells in (labels, np.where(labels == 1, 1, 0).astype(np.int32))
    )
    assert alone.contact is None
    batch = sample_crops([touching, alone], 4, 48, np.random.default_rng(0))
    assert batch.contact is not None
    assert batch.contact_weight is not None
    assert batch.contact.shape == batch.contact_weight.shape == (4, 1, 48, 48)
    of_alone = [not batch.contact_weight[n].any() for n in range(4)]
    assert sum(of_alone) == 2  # nothing is known of contacts there
    assert batch.contact.any()
    assert not (batch.contact * (1 - batch.contact_weight)).any()
    assert sample_crops([alone], 2, 48, np.random.default_rng(0)).contact is None


def test_labels_are_resized_without_being_mixed() -> None:
    labels = np.random.default_rng(0).integers(0, 900, (31, 47)).astype(np.int32)
    for shape in ((15, 23), (62, 94), (31, 47), (8, 200)):
        resized = nearest(labels, shape)
        assert resized.shape == shape
        assert set(np.unique(resized)) <= set(np.unique(labels))
