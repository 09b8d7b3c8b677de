"""Probability becomes objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.draw import disk
from skimage.measure import label

from napari_fewshot_cells.instances import label_instances


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
