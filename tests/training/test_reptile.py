"""Algorithm 1, Eq. 2 and the inner loop, against independent computations."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_fewshot_cells.losses import distillation, entropy_regularisation, weighted_bce
from napari_fewshot_cells.networks import build_network
from napari_fewshot_cells.training.reptile import ReptileConfig, get_theta, inner_loop, meta_step, set_theta
from napari_fewshot_cells.training.tasks import EpisodeShape, draw_episode, to_device

SMALL = EpisodeShape(k_shot=2, inner_steps=2, crops=2, other_crops=1, crop_size=32)
CONFIG = ReptileConfig(episode=SMALL, seed=3)


def flat(theta):
    return torch.cat([value.flatten() for value in theta.values()]).double().numpy()


def episode_of(tasks, m, iteration=0):
    episode = draw_episode(tasks, m, SMALL, np.random.default_rng([CONFIG.seed, iteration, m]))
    return to_device(episode, torch.device("cpu"))  # channels-last: another layout rounds otherwise


@pytest.mark.parametrize("meta_lr", [1.0, 0.3])
def test_meta_step_is_eq_2(tasks, meta_lr):
    network, config = build_network("fcrn", 0), replace(CONFIG, meta_lr=meta_lr)
    theta = get_theta(network)
    adapted = [
        inner_loop(copy.deepcopy(network), theta, episode_of(tasks, m), config)[0] for m in range(len(tasks))
    ]
    losses = list(meta_step(network, tasks, config, iteration=0))
    changes = [flat(theta_m) - flat(theta) for theta_m in adapted]
    expected = flat(theta) + meta_lr * np.sum(changes, axis=0) / len(tasks)
    np.testing.assert_allclose(flat(get_theta(network)), expected, atol=1e-6)
    assert [x.task for x in losses] == ["B39", "EM"]
    assert np.abs(changes[0] - changes[1]).max() > 1e-4


def test_inner_loop_is_adam_on_the_sum_of_the_three_losses(tasks):
    config = replace(CONFIG, alpha=0.5, beta=0.25, episode=replace(SMALL, inner_steps=1))
    episode = draw_episode(tasks, 0, config.episode, np.random.default_rng(0))
    network = build_network("unet", 1)
    theta = get_theta(network)
    theta_m, (bce, entropy, distance, last) = inner_loop(network, theta, episode, config)

    by_hand = build_network("unet", 1).train()
    s_m, x_n, x_p = episode.annotated[0], episode.other_n[0], episode.other_p[0]
    logits, latent = by_hand(s_m.image)
    terms = [
        weighted_bce(logits, s_m.target, s_m.weight),
        entropy_regularisation(by_hand(x_n)[0]),
        distillation(latent, by_hand(x_p)[1]),
    ]
    (terms[0] + 0.5 * terms[1] + 0.25 * terms[2]).backward()
    assert [bce, entropy, distance, last] == pytest.approx([*(t.item() for t in terms), terms[0].item()])
    for name, parameter in by_hand.named_parameters():
        gradient = parameter.grad + config.weight_decay * parameter.detach()
        first_adam_step = config.lr * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(theta_m[name], theta[name] - first_adam_step, atol=2e-6, rtol=1e-3)


def test_alpha_and_beta_zero_is_plain_bce(tasks):
    config = replace(CONFIG, alpha=0.0, beta=0.0)
    episode = episode_of(tasks, 0)
    noise = replace(episode, other_n=tuple(torch.rand_like(x) for x in episode.other_n))
    network = build_network("fcrn", 0)
    theta = get_theta(network)
    one, losses = inner_loop(network, theta, episode, config)
    two, _ = inner_loop(network, theta, noise, config)
    np.testing.assert_array_equal(flat(one), flat(two))
    assert losses[1:3] == (0, 0)


def test_other_domains_are_never_the_task_itself_and_may_be_the_same(tasks):
    shape = replace(SMALL, scale_jitter=1.0, invert=0.0, rescale=False)
    three = [*tasks, replace(tasks[0], name="copy")]
    seen = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        seen.add(tuple(np.random.default_rng(seed).choice([1, 2], size=2).tolist()))
        draw_episode(three, 0, shape, rng)
    assert {(1, 1), (2, 2)} & seen
    with pytest.raises(ValueError, match="at least two source sets"):
        draw_episode(tasks[:1], 0, SMALL, np.random.default_rng(0))


def test_episode_holds_what_its_shape_says(tasks):
    episode = episode_of(tasks, 1)
    assert len(episode.annotated) == len(episode.other_n) == len(episode.other_p) == 2
    assert episode.annotated[0].image.shape == episode.annotated[0].target.shape == (2, 1, 32, 32)
    assert episode.other_n[0].shape == (1, 1, 32, 32)


def test_negatives(tasks):
    shape = replace(SMALL, scale_jitter=1.0)
    positive, negative = (
        draw_episode(tasks, 0, replace(shape, invert=share), np.random.default_rng(0)) for share in (0.0, 1.0)
    )
    assert (positive.annotated[0].target == negative.annotated[0].target).all()
    pair = [e.annotated[0].image.flatten().numpy() for e in (positive, negative)]
    assert np.corrcoef(*pair)[0, 1] < -0.5


def test_set_theta_takes_copies():
    network = build_network("fcrn", 0)
    theta = get_theta(network)
    set_theta(network, {name: value + 1 for name, value in theta.items()})
    assert flat(get_theta(network)) == pytest.approx(flat(theta) + 1)
