"""IoU as in the paper and AP of instances, compared with counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_fewshot_cells.prediction.metrics import average_precision, iou

masks = hnp.arrays(np.int32, (6, 6), elements=st.integers(0, 4))


def test_iou_by_hand():
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[:2], b[1:3] = 1, 1  # 4 in common of 12
    assert iou(a, b) == pytest.approx((4 + 1e-4) / (12 + 1e-4))


def test_two_empty_masks_agree():
    assert iou(np.zeros((3, 3)), np.zeros((3, 3))) == 1
    assert average_precision(np.zeros((3, 3), int), np.zeros((3, 3), int)) == 1


@given(a=masks, b=masks)
def test_symmetric_and_bounded(a, b):
    assert iou(a, b) == iou(b, a)
    assert 0 < iou(a, b) <= 1
    assert average_precision(a, b) == average_precision(b, a)
    assert 0 <= average_precision(a, b) <= 1


@given(a=masks, shift=st.integers(1, 100))
def test_label_numbers_do_not_matter(a, shift):
    renumbered = np.where(a > 0, a + shift, 0)
    assert average_precision(a, renumbered) == 1


def test_average_precision_by_hand():
    truth = np.zeros((10, 10), int)
    truth[:3, :3], truth[5:, 5:] = 1, 2
    predicted = np.zeros_like(truth)
    predicted[:3, :3] = 5  # hit
    predicted[5:7, 5:] = 6  # 10 of 25: below 0.5
    predicted[0, 9] = 7  # false alarm
    assert average_precision(predicted, truth) == pytest.approx(1 / (1 + 2 + 1))
    assert average_precision(predicted, truth, 0.4) == pytest.approx(2 / 3)


def test_other_shapes():
    with pytest.raises(ValueError, match="shapes differ"):
        iou(np.zeros((3, 3)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="shapes differ"):
        average_precision(np.zeros((3, 3), int), np.zeros((3, 4), int))
