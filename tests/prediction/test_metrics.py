"""Foreground IoU and scores of instances, compared with counts by hand and with plain double loops."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_fewshot_cells.prediction.metrics import (
    AP_THRESHOLDS,
    SCORES,
    InstanceScore,
    average_precision,
    averaged,
    iou,
    pooled,
    score,
)

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
    with pytest.raises(ValueError, match="shapes differ"):
        score(np.zeros((3, 3), int), np.zeros((3, 4), int))


# --- scores of instances, by hand --------------------------------------------------------------------------

EMPTY = np.zeros((12, 40), int)


def cells(*columns_of_label: tuple[int, int, int]) -> np.ndarray:
    """Cells 10 pixels high, each as (label, first column, end)."""
    labels = EMPTY.copy()
    for label, first, end in columns_of_label:
        labels[1:11, first:end] = label
    return labels


TRUTH = cells((3, 0, 10), (900, 10, 20), (2**31 - 1, 25, 35))  # the first two touch


def test_scores_by_hand():
    predicted = cells((70, 0, 10), (5, 10, 16), (6, 27, 35), (1, 36, 40))  # IoU 1, 0.6, 0.8, and a false one
    s = score(predicted, TRUTH)
    assert sorted(s.matched) == [0.6, 0.8, 1]
    assert s.iou == iou(predicted, TRUTH) == pytest.approx(240 / 340, abs=1e-5)
    assert s.ap50 == 3 / 4
    assert s.ap75 == 2 / (2 + 2 + 1)
    # 3 pairs at 0.5 to 0.6, 2 to 0.8, 1 to 0.95
    assert s.mean_ap == pytest.approx((3 * 3 / 4 + 4 * 2 / 5 + 3 * 1 / 6) / 10)
    assert s.sq == pytest.approx(2.4 / 3)
    assert s.rq == s.f1 == pytest.approx(3 / (3 + 1 / 2))
    assert s.pq == pytest.approx(2.4 / 3.5)
    assert (s.recall_touching, s.recall_isolated) == (1, 1)
    assert (s.n_predicted, s.n_truth, s.n_touching, s.count_error) == (4, 3, 2, 1)
    assert list(s.numbers()) == list(SCORES)
    assert s.numbers()["mean_ap"] == s.mean_ap


def test_touching_cells_that_are_merged_are_missed():
    s = score(cells((1, 0, 20), (2, 25, 35)), cells((1, 0, 8), (2, 8, 20), (3, 25, 35)))
    assert (s.recall_touching, s.recall_isolated) == (1 / 2, 1)  # the larger has 0.6 of the merged object
    s = score(cells((1, 0, 30)), cells((1, 0, 10), (2, 10, 20), (3, 20, 30)))
    assert (s.recall_touching, s.recall_isolated) == (0, None)
    assert (s.pq, s.sq, s.rq, s.ap50, s.count_error) == (0, None, 0, 0, 2)


@pytest.mark.parametrize(
    ("other", "touches"),
    [((2, 2), True), ((2, 1), True), ((1, 2), True), ((2, 0), True), ((3, 1), False), ((1, 3), False)],
)
def test_touching_is_the_8_neighbourhood(other, touches):
    truth = np.zeros((5, 5), int)
    truth[1, 1], truth[other] = 1, 2
    assert score(truth, truth).n_touching == 2 * touches


def test_no_cells_touch():
    truth = cells((1, 0, 10), (2, 11, 20))
    s = score(truth, truth)
    assert (s.recall_touching, s.recall_isolated, s.n_touching) == (None, 1, 0)


def test_exactly_half_counts_for_precision_and_recall_but_not_for_panoptic_quality():
    s = score(cells((1, 0, 5)), cells((1, 0, 10)))
    assert (s.ap50, s.f1, s.recall_isolated) == (1, 1, 1)
    assert (s.pq, s.sq, s.rq) == (0, None, 0)
    assert s.mean_ap == 1 / 10


@pytest.mark.parametrize("halves", [((4, 0, 5), (7, 5, 10)), ((7, 0, 5), (4, 5, 10))])
def test_two_halves_match_once(halves):
    whole = cells((1, 0, 10))
    for s in (score(cells(*halves), whole), score(whole, cells(*halves))):
        assert s.matched == (0.5,)
        assert s.ap50 == 1 / 2
    assert score(whole, cells(*halves)).recall_touching == 1 / 2


def test_of_two_halves_the_lower_number_is_matched():
    merged = cells((9, 0, 5), (9, 15, 20))
    truth = cells((2, 0, 5), (3, 15, 20), (4, 20, 30))  # the half 3 touches 4, the half 2 nothing
    assert (score(merged, truth).recall_touching, score(merged, truth).recall_isolated) == (0, 1)
    truth = cells((3, 0, 5), (2, 15, 20), (4, 20, 30))
    assert (score(merged, truth).recall_touching, score(merged, truth).recall_isolated) == (1 / 2, 0)


def test_two_pieces_of_one_number_are_one_object():
    s = score(cells((1, 0, 4), (1, 6, 10)), cells((1, 0, 10)))
    assert (s.n_predicted, s.matched) == (1, (0.8,))


def test_nothing_predicted_and_nothing_there():
    both = score(EMPTY, EMPTY)
    assert (both.iou, both.ap50, both.ap75, both.mean_ap, both.pq, both.rq, both.f1) == (1,) * 7
    assert (both.sq, both.recall_touching, both.recall_isolated, both.count_error) == (None, None, None, 0)
    none, false = score(EMPTY, TRUTH), score(TRUTH, EMPTY)
    for s in (none, false):
        assert (s.ap50, s.mean_ap, s.pq, s.rq, s.f1, s.count_error) == (0, 0, 0, 0, 0, 3)
        assert s.iou < 1e-5
        assert s.sq is None
    assert (none.recall_touching, none.recall_isolated) == (0, 0)
    assert (false.recall_touching, false.recall_isolated) == (None, None)
    assert score(np.zeros((0, 5), int), np.zeros((0, 5), int)) == InstanceScore(0, 0, 0, 0, 0, 0, ())


def test_averaged_over_images_and_pooled_over_objects():
    one = score(cells((1, 0, 10)), cells((1, 0, 10)))
    four = score(cells((1, 0, 10), (2, 30, 35)), cells((1, 0, 10), (2, 10, 20), (3, 20, 25), (4, 30, 40)))
    means, pool = averaged([one, four]), pooled([one, four])
    assert list(means) == list(SCORES)
    assert means["ap50"] == (1 + 2 / 4) / 2
    assert pool.ap50 == 3 / 5
    assert means["pq"] == pytest.approx((1 + 1 / 3) / 2)
    assert pool.pq == pytest.approx(2 / (1 + 7 / 2 - 1 / 2))
    assert means["recall_touching"] == pool.recall_touching == 1 / 3  # the first image has no such cells
    assert means["recall_isolated"] == 1
    assert means["iou"] == pytest.approx((1 + 150 / 350) / 2, abs=1e-5)
    assert pool.iou == pytest.approx(250 / 450, abs=1e-5)
    assert (means["n_predicted"], means["n_truth"], means["count_error"]) == (1.5, 2.5, 1)
    assert (pool.n_predicted, pool.n_truth, pool.count_error) == (3, 5, 2)
    assert averaged([one])["recall_touching"] is None
    assert pooled([one]) == one


def test_errors_of_the_count_add_up_over_images_and_cancel_in_the_pool():
    scores = [score(TRUTH, EMPTY), score(EMPTY, TRUTH)]
    assert averaged(scores)["count_error"] == 3
    assert pooled(scores).count_error == 0


# --- a second, plain implementation ------------------------------------------------------------------------


def pixels_of(labels):
    """The pixels of each object, by label number."""
    return {
        label: {(y, x) for y, x in np.ndindex(labels.shape) if labels[y, x] == label}
        for label in sorted(set(labels.ravel().tolist()) - {0})
    }


def plain_ious(predicted, truth):
    return {
        (p, t): len(a & b) / len(a | b)
        for p, a in pixels_of(predicted).items()
        for t, b in pixels_of(truth).items()
    }


def plain_true_positives(ious, threshold):
    """Size of the largest one-to-one matching, by augmenting paths."""
    partner = {}

    def place(p, tried):
        for (q, t), value in ious.items():
            if q == p and value >= threshold and t not in tried:
                tried.add(t)
                if t not in partner or place(partner[t], tried):
                    partner[t] = p
                    return True
        return False

    return sum(place(p, set()) for p in {p for p, _ in ious})


def plain_scores(predicted, truth):
    """Double loops over objects and pixels; the names are those of `SCORES`."""
    ious = plain_ious(predicted, truth)
    cells, n_predicted = pixels_of(truth), len(pixels_of(predicted))
    n = n_predicted + len(cells)

    def precision(threshold):
        hits = plain_true_positives(ious, threshold)
        return hits / (n - hits) if n else 1

    pairs = [value for value in ious.values() if value > 0.5]
    used, hit = set(), set()
    for (p, t), _ in sorted(ious.items(), key=lambda pair: (-pair[1], pair[0])):
        if ious[p, t] >= 0.5 and p not in used and t not in hit:
            used.add(p)
            hit.add(t)
    touching = {
        t
        for t, pixels in cells.items()
        for u, others in cells.items()
        if t != u and any(max(abs(y - v), abs(x - w)) == 1 for y, x in pixels for v, w in others)
    }
    isolated = set(cells) - touching
    foreground = set().union(*pixels_of(predicted).values()), set().union(*cells.values())
    return {
        "iou": (len(foreground[0] & foreground[1]) + 1e-4) / (len(foreground[0] | foreground[1]) + 1e-4),
        "ap50": precision(0.5),
        "ap75": precision(0.75),
        "mean_ap": sum(precision(float(f"0.{percent}")) for percent in range(50, 100, 5)) / 10,
        "pq": sum(pairs) / (n / 2) if n else 1,
        "sq": sum(pairs) / len(pairs) if pairs else None,
        "rq": len(pairs) / (n / 2) if n else 1,
        "f1": len(hit) / (n / 2) if n else 1,
        "recall_touching": len(hit & touching) / len(touching) if touching else None,
        "recall_isolated": len(hit & isolated) / len(isolated) if isolated else None,
        "n_predicted": n_predicted,
        "n_truth": len(cells),
        "n_touching": len(touching),
        "count_error": abs(n_predicted - len(cells)),
    }


@given(a=masks, b=masks)
def test_scores_equal_the_plain_ones(a, b):
    assert score(a, b).numbers() == pytest.approx(plain_scores(a, b))


@given(a=masks, noise=hnp.arrays(np.bool_, (6, 6)), shift=st.integers(1, 2**31 - 5))
def test_scores_equal_the_plain_ones_where_objects_nearly_agree(a, noise, shift):
    b = np.where((a > 0) & ~(noise & np.roll(noise, 1)), a + shift, 0)
    assert score(a, b).numbers() == pytest.approx(plain_scores(a, b))
    assert score(b, a).numbers() == pytest.approx(plain_scores(b, a))


@given(a=masks, b=masks, threshold=st.sampled_from((0.1, 0.2, 0.25, 1 / 3, 0.4, 0.5, 0.6, 0.75, 1)))
def test_average_precision_matches_most_pairs_at_any_threshold(a, b, threshold):
    n, hits = len(pixels_of(a)) + len(pixels_of(b)), plain_true_positives(plain_ious(a, b), threshold)
    assert average_precision(a, b, threshold) == (hits / (n - hits) if n else 1)


@pytest.mark.parametrize("seed", range(8))
def test_scores_of_random_cells_equal_the_plain_ones(seed):
    random = np.random.default_rng(seed)
    grid = np.kron(random.permutation(16).reshape(4, 4), np.ones((6, 6), int)) * 1000
    truth = np.where(random.random(grid.shape) < 0.95, grid, 0)
    predicted = np.roll(np.where(random.random(grid.shape) < 0.9, grid, 0), random.integers(0, 3, 2), (0, 1))
    predicted[predicted == 3000] = 5000  # merged, not neighbours
    predicted[:, 17:][predicted[:, 17:] == 7000] = 7001  # perhaps divided
    s = score(predicted, truth)
    assert s.numbers() == pytest.approx(plain_scores(predicted, truth))
    assert [s.ap50, s.ap75] == [average_precision(predicted, truth, t) for t in (0.5, 0.75)]
    assert s.mean_ap == pytest.approx(
        np.mean([average_precision(predicted, truth, t) for t in AP_THRESHOLDS])
    )


def test_two_thousand_cells_take_no_time():
    side = 45
    truth = np.kron(np.arange(1, side**2 + 1).reshape(side, side), np.ones((24, 24), int))
    predicted = np.roll(truth, 3, axis=1)  # 21 of 27 columns in common
    predicted[:, :3] = 0
    began = time.process_time()
    s = score(predicted, truth)
    assert time.process_time() - began < 0.5  # 0.05 on one core; all pairs, assigned, took 0.6 per threshold
    assert (s.n_predicted, s.n_truth, s.n_touching, s.ap50) == (side**2,) * 3 + (1,)
    # the last column lost 3 of its 24 columns over the edge
    assert s.pq == pytest.approx((44 * 21 / 27 + 21 / 24) / 45)
