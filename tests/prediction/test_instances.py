"""Instance labels from a probability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.draw import disk
from skimage.measure import label

from napari_fewshot_cells.prediction.instances import (
    drop_small,
    fill_holes,
    label_instances,
    split_objects,
    usual_min_size,
)


def discs(*centres, radius=10, shape=(80, 100)):
    probability = np.zeros(shape, np.float32)
    for centre in centres:
        probability[disk(centre, radius, shape=shape)] = 1
    return probability


def test_separate_discs():
    probability = discs((20, 20), (20, 70), (60, 40))
    labels = label_instances(probability)
    assert labels.dtype == np.int32
    assert labels.max() == 3
    np.testing.assert_array_equal(labels > 0, probability > 0.5)


def test_touching_discs_are_split_between_them():
    probability = discs((40, 30), (40, 47))
    labels = label_instances(probability, diameter=20)
    assert labels.max() == 2
    assert labels[40, 30] != labels[40, 47]
    areas = np.bincount(labels.ravel())[1:]
    assert areas[0] == pytest.approx(areas[1], rel=0.1)
    np.testing.assert_array_equal(labels > 0, probability > 0.5)


def test_one_elongated_object_stays_one():
    probability = np.zeros((60, 100), np.float32)
    probability[25:37, 10:90] = 1
    assert label_instances(probability, diameter=30).max() == 1


def test_objects_at_the_border_stay_whole():
    assert label_instances(discs((0, 50), (79, 50), (40, 0))).max() == 3


def test_small_pieces():
    probability = discs((40, 40))
    probability[5, 5:8] = 1
    assert label_instances(probability).max() == 2
    assert label_instances(probability, diameter=20).max() == 1
    assert label_instances(probability, min_size=4).max() == 1
    assert label_instances(probability, diameter=20, min_size=3).max() == 2


def test_threshold():
    assert label_instances(0.4 * discs((40, 40))).max() == 0
    assert label_instances(0.4 * discs((40, 40)), threshold=0.3).max() == 1


@settings(deadline=None, max_examples=40)
@given(
    mask=hnp.arrays(np.bool_, (24, 31)),
    diameter=st.one_of(st.none(), st.floats(1, 40)),
)
def test_every_object_is_connected_numbered_and_covers_the_foreground(mask, diameter):
    labels = label_instances(mask.astype(np.float32), diameter=diameter, min_size=1)
    np.testing.assert_array_equal(labels > 0, mask)
    numbers = np.unique(labels[labels > 0])
    np.testing.assert_array_equal(numbers, np.arange(1, len(numbers) + 1))
    for number in numbers:
        assert label(labels == number, connectivity=2).max() == 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_or_nothing(value):
    assert label_instances(np.full((40, 40), value)).max() == int(value)


def test_diagonal_waists_split_as_straight_ones_do():
    straight, diagonal = discs((40, 30), (40, 47)), discs((30, 30), (42, 42))
    assert label_instances(straight, diameter=20).max() == label_instances(diagonal, diameter=20).max() == 2


def test_a_deeper_waist_is_asked_of_larger_cells():
    waisted = discs((40, 30), (40, 42))
    assert split_objects(waisted > 0.5, 20).max() > 1
    assert len(np.unique(split_objects(waisted > 0.5, 100))) == 2


def test_a_hole_is_filled_before_it_cuts_its_object():
    ring = discs((40, 40), radius=16)
    ring[disk((40, 40), 7)] = 0
    hole = int((discs((40, 40), radius=7) > 0).sum())
    whole = label_instances(ring, diameter=30, max_hole=hole)
    assert whole.max() == 1
    assert whole[40, 40] == 1
    assert label_instances(ring, diameter=30, max_hole=hole - 1)[40, 40] == 0
    assert label_instances(ring, diameter=30)[40, 40] == 0


def test_background_at_the_border_is_no_hole():
    mask = np.ones((20, 20), bool)
    mask[0, 5:8], mask[10, 10] = False, False
    filled = fill_holes(mask, 100)
    assert not filled[0, 5:8].any()
    assert filled[10, 10]


def test_a_gap_that_is_open_at_a_corner_is_no_hole():
    mask = np.ones((9, 9), bool)
    mask[4, 4] = mask[3, 3] = mask[2, 2] = mask[1, 1] = mask[0, 0] = False
    np.testing.assert_array_equal(fill_holes(mask, 100), mask)


masks = hnp.arrays(np.bool_, (24, 31))


@settings(deadline=None, max_examples=60)
@given(mask=masks, max_hole=st.integers(0, 60), more=st.integers(0, 60))
def test_filling_adds_only_is_idempotent_and_grows_with_the_size(mask, max_hole, more):
    filled = fill_holes(mask, max_hole)
    assert filled[mask].all()
    np.testing.assert_array_equal(fill_holes(filled, max_hole), filled)
    assert fill_holes(mask, max_hole + more)[filled].all()
    if max_hole == 0:
        np.testing.assert_array_equal(filled, mask)


@settings(deadline=None, max_examples=60)
@given(mask=masks, min_size=st.integers(0, 40), more=st.integers(0, 40))
def test_a_larger_smallest_size_drops_more_and_never_cuts(mask, min_size, more):
    parts = split_objects(mask)
    few, many = drop_small(parts, min_size + more), drop_small(parts, min_size)
    assert not few[many == 0].any()
    for labels, least in ((few, min_size + more), (many, min_size)):
        areas = np.bincount(labels.ravel())[1:]
        assert (areas >= max(least, 1)).all()
        for number in range(1, len(areas) + 1):
            (part,) = np.unique(parts[labels == number])
            assert (parts == part).sum() == areas[number - 1]


def test_the_usual_smallest_size():
    assert usual_min_size(None) == 1
    assert usual_min_size(20) == 31
    assert usual_min_size(1) == 1


def test_contacts_cut_what_shape_cannot_and_objects_grow_back_over_them() -> None:
    probability = np.zeros((40, 60), np.float32)
    probability[5:35, 5:55] = 0.9  # a rectangle: no waist
    contact = np.zeros_like(probability)
    contact[:, 28:32] = 0.9
    assert label_instances(probability, diameter=25).max() == 1
    labels = label_instances(probability, contact=contact, diameter=25)
    assert labels.max() == 2
    np.testing.assert_array_equal(labels > 0, probability > 0.5)  # the foreground stays
    assert set(np.unique(labels[:, 5:28])) == {0, labels[20, 10]}
    assert set(np.unique(labels[:, 32:55])) == {0, labels[20, 50]}


def test_without_contacts_in_them_components_stay_whole() -> None:
    probability = np.zeros((40, 60), np.float32)
    probability[5:15, 5:15] = probability[20:35, 20:50] = 0.9
    labels = label_instances(probability, contact=np.zeros_like(probability), diameter=15)
    np.testing.assert_array_equal(labels > 0, probability > 0.5)
    assert labels.max() == 2


def test_a_component_that_is_all_contact_is_one_object() -> None:
    probability = np.zeros((30, 30), np.float32)
    probability[10:20, 10:20] = 0.9
    labels = label_instances(probability, contact=np.ones_like(probability), diameter=10)
    assert labels.max() == 1
    np.testing.assert_array_equal(labels > 0, probability > 0.5)


def test_specks_between_contacts_are_no_cells() -> None:
    probability = np.zeros((40, 60), np.float32)
    probability[5:35, 5:55] = 0.9
    contact = np.zeros_like(probability)
    contact[:, 27:34] = 0.9
    contact[19:21, 30:32] = 0.1
    assert label_instances(probability, contact=contact, diameter=25).max() == 2
