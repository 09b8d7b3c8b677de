"""Thresholds from annotation, against direct searches and simulated odds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fewshot_cells.data.crops import Sample
from napari_fewshot_cells.finetune.calibration import (
    RIMS,
    TYPICAL_LOGIT,
    best_threshold,
    calibrated_threshold,
    expected_log_ratio,
    share_threshold,
)


@given(seed=st.integers(0, 1000))
def test_best_threshold_is_the_best_of_its_candidates(seed):
    rng = np.random.default_rng(seed)
    samples, logits = [], []
    for _ in range(2):
        target = (rng.random((9, 9)) < 0.3).astype(np.float32)
        target[0, :2] = [0, 1]
        weight = (rng.random((9, 9)) < 0.7).astype(np.float32)
        weight[0, :2] = 1
        samples.append(Sample(target, target, weight))
        logits.append((3 * target + rng.normal(0, 2, (9, 9))).astype(np.float32))

    def mean_iou(threshold):
        ious = []
        for logit, s in zip(logits, samples, strict=True):
            found, cell, seen = logit > threshold, s.target > 0, s.weight > 0
            ious.append(np.sum(found & cell & seen) / np.sum((found | cell) & seen))
        return np.mean(ious)

    best = max(mean_iou(threshold) for threshold in np.linspace(-4, 8, 97))
    threshold, found = best_threshold(logits, samples)
    assert mean_iou(threshold) == pytest.approx(best, abs=2e-3)
    assert found == pytest.approx(mean_iou(threshold))


@pytest.mark.parametrize("k_shot", [1, 4])
def test_few_shots_move_the_threshold_less_than_many(k_shot):
    target = np.zeros((8, 8), np.float32)
    target[:2] = 1
    logit = np.where(target > 0, 7, 5).astype(np.float32)  # any cut between 5 and 7 is right
    shots = [Sample(target, target, np.ones_like(target))] * k_shot
    best, _ = best_threshold([logit] * k_shot, shots)
    assert 5 <= best < 7
    expected = (k_shot * best + TYPICAL_LOGIT) / (k_shot + 1)
    assert calibrated_threshold([logit] * k_shot, shots) == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.02, 0.15, 0.5])
@pytest.mark.parametrize("expected", [0.0, 1.2])
def test_the_share_of_cells_is_found_without_annotation(share, expected):
    """Odds that are right but for the share, which was another in training."""
    rng = np.random.default_rng(0)
    is_cell = rng.random((300, 300)) < share
    log_ratio = rng.normal(np.where(is_cell, 3, -3), np.sqrt(6))  # log p(x | cell) / p(x | background)
    found = share_threshold((log_ratio - expected).astype(np.float32), expected)
    assert found == pytest.approx(np.log((1 - share) / share) - expected, abs=0.1)


def test_strokes_speak_by_the_share_that_is_found():
    rng = np.random.default_rng(1)
    target = np.zeros((200, 200), np.float32)
    target[:20] = 1  # a tenth
    logit = rng.normal(3 * (2 * target - 1), np.sqrt(6)).astype(np.float32)
    weight = np.zeros_like(target)
    weight[5:8, :100] = weight[100:103, :100] = 1  # as many pixels of each class: nothing of the share
    strokes = Sample(target, target, weight)
    share = share_threshold(logit)
    assert share == pytest.approx(np.log(9), abs=0.2)
    for balance in (0.5, 1.0):
        found = calibrated_threshold([logit], [strokes], balance)
        assert found == pytest.approx((share + TYPICAL_LOGIT) / 2 - RIMS)
    told = weight.copy()
    told[3:5, :100] = told[103:105, :100] = 0.2  # a network told where these end
    for agreement, unknown in ((0.65, 1), (0.7, 1), (0.85, 0.5), (1, 0)):
        outlined = Sample(target, target, told, agreement=agreement)
        found = calibrated_threshold([logit], [outlined], 0.5)
        assert found == pytest.approx(unknown * (share + TYPICAL_LOGIT) / 2)


def test_strokes_keep_a_threshold_from_leaving_them():
    """A net that has learnt little: its odds are too weak for a share, the typical logit finds nothing."""
    target = np.zeros((40, 40), np.float32)
    target[:8] = 1
    logit = (0.2 * target + 0.01 * np.random.default_rng(0).normal(size=target.shape)).astype(np.float32)
    weight = np.zeros_like(target)
    weight[2:4] = weight[20:22] = 1
    found = logit > calibrated_threshold([logit], [Sample(target, target, weight)], 0.5)
    assert np.array_equal(found, target > 0)


def test_an_image_without_a_cell_gives_a_finite_threshold():
    assert np.isfinite(share_threshold(np.full((20, 20), -50, np.float32)))
    assert np.isfinite(share_threshold(np.full((20, 20), 50, np.float32)))


def test_what_a_network_expects_is_the_ratio_of_its_loss():
    """Weights of background and cells: 30 and 10 painted pixels in L_BCE, and half of the unpainted."""
    target, weight = np.zeros((2, 10, 10), np.float32)
    target[0], weight[:4] = 1, 1
    strokes = Sample(target, target, weight)
    assert expected_log_ratio(strokes, balance=0.0) == pytest.approx(np.log(3))
    assert expected_log_ratio(strokes, balance=1.0) == pytest.approx(0)
    cells, background = 0.25 * np.sqrt(3), 0.75 + 2.0 * 0.5  # means over the 40; over the unpainted, halved
    assert expected_log_ratio(strokes, 0.5, unpainted=2.0) == pytest.approx(np.log(background / cells))
