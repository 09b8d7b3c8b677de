"""Eq. 3, 4 and 5 against independent NumPy references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_fewshot_cells.models.losses import (
    distillation,
    doubtful_background,
    entropy_regularisation,
    foreground_weight,
    weighted_bce,
)


def random_case(seed: int, shape=(3, 1, 5, 7)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, shape)
    target = (rng.random(shape) < 0.3).astype(float)
    weight = (rng.random(shape) < 0.6).astype(float)
    return logits, target, weight


def numpy_weighted_bce(logits, target, weight, balance=1.0):
    """Eq. 3 pixel by pixel, with a power of w."""
    means = []
    for z, y, a in zip(logits, target, weight, strict=True):
        y_hat = 1 / (1 + np.exp(-z))
        n_fg, n_bg = sum(y[a > 0] == 1), sum(y[a > 0] == 0)
        w = (n_bg / n_fg) ** balance if n_fg and n_bg else 1.0
        terms = [
            -(w * yi * np.log(pi) + (1 - yi) * np.log(1 - pi))
            for yi, pi, ai in zip(y.flat, y_hat.flat, a.flat, strict=True)
            if ai
        ]
        if terms:
            means.append(np.mean(terms))
    return np.mean(means) if means else 0.0


def tensors(*arrays):
    return [torch.tensor(a, dtype=torch.float64) for a in arrays]


@given(seed=st.integers(0, 10_000))
def test_weighted_bce_is_eq_3(seed):
    case = random_case(seed)
    assert weighted_bce(*tensors(*case)).item() == pytest.approx(numpy_weighted_bce(*case), rel=1e-6)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_balance_is_a_power_of_w(balance):
    case = random_case(3)
    expected = numpy_weighted_bce(*case, balance=balance)
    assert weighted_bce(*tensors(*case), balance=balance).item() == pytest.approx(expected, rel=1e-6)


def test_weight_is_per_image_not_per_batch():
    target = torch.zeros(2, 1, 4, 4)
    target[0, 0, 0, 0] = 1  # 15 : 1
    target[1, 0, :2] = 1  # 8 : 8
    assert foreground_weight(target, torch.ones_like(target)).flatten().tolist() == [15.0, 1.0]


def test_mask_without_foreground_is_plain_bce():
    logits = torch.tensor([[[[0.3, -2.0], [1.0, 0.0]]]])
    expected = np.mean(np.log1p(np.exp([0.3, -2.0, 1.0, 0.0])))
    assert weighted_bce(logits, torch.zeros_like(logits)).item() == pytest.approx(expected, rel=1e-6)


def test_unannotated_pixels_get_exactly_zero_gradient():
    logits, target, weight = tensors(*random_case(1))
    logits.requires_grad_()
    weighted_bce(logits, target, weight).backward()
    assert torch.all(logits.grad[weight == 0] == 0)
    assert torch.all(logits.grad[weight == 1] != 0)


def test_nothing_annotated_is_zero_not_nan():
    logits = torch.zeros(2, 1, 3, 3, requires_grad=True)
    loss = weighted_bce(logits, torch.zeros(2, 1, 3, 3), torch.zeros(2, 1, 3, 3))
    loss.backward()
    assert loss.item() == 0
    assert torch.all(logits.grad == 0)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[[[1e4, -1e4]]]], requires_grad=True)
    loss = weighted_bce(logits, torch.tensor([[[[0.0, 1.0]]]])) + entropy_regularisation(logits, full=True)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("full", [False, True])
def test_entropy_is_eq_4(full):
    z = np.random.default_rng(0).normal(0, 2, (2, 1, 4, 4))
    p = 1 / (1 + np.exp(-z))
    expected = -p * np.log(p) - (full * (1 - p) * np.log(1 - p))
    assert entropy_regularisation(torch.tensor(z), full=full).item() == pytest.approx(expected.mean())


def test_distillation_is_eq_5_over_all_pairs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 4, 2, 2)), rng.normal(size=(5, 4, 2, 2))
    expected = np.mean([np.mean((x - y) ** 2) for x in a for y in b])
    assert distillation(*tensors(a, b)).item() == pytest.approx(expected)


def test_matched_distillation_pairs_i_with_i():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 4, 2, 2)), rng.normal(size=(3, 4, 2, 2))
    assert distillation(*tensors(a, b), matched=True).item() == pytest.approx(np.mean((a - b) ** 2))


def test_doubtful_background_is_its_formula():
    """Mean over the unpainted pixels of an image, then over images; one image has none."""
    logits, _, unpainted = random_case(5)
    unpainted[1] = 0
    means = []
    for z, u in zip(logits, unpainted, strict=True):
        background = 1 - 1 / (1 + np.exp(-z))
        terms = [-b * np.log(b) for b, known in zip(background.flat, u.flat, strict=True) if known]
        means.append(np.mean(terms) if terms else 0.0)
    assert doubtful_background(*tensors(logits, unpainted)).item() == pytest.approx(np.mean(means), rel=1e-6)


def test_doubtful_background_pulls_where_the_network_doubts():
    """The gradient is y'(1 − y') on unpainted pixels: almost none if the network is certain."""
    logits = torch.tensor([-9.0, 0.0, 9.0, 0.0], dtype=torch.float64, requires_grad=True)
    unpainted = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    doubtful_background(logits.view(1, 1, 1, 4), unpainted.view(1, 1, 1, 4)).backward()
    y = torch.sigmoid(logits.detach())
    np.testing.assert_allclose(logits.grad, y * (1 - y) * unpainted / 3, rtol=1e-6)
    assert logits.grad[1] > 1000 * max(logits.grad[0], logits.grad[2])
