"""Algorithm 1, Eq. 2 and the inner loop, against independent computations."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_fewshot_cells.base.errors import DataError, FewShotError
from napari_fewshot_cells.data.crops import Batch
from napari_fewshot_cells.data.plane import Plane
from napari_fewshot_cells.models.losses import distillation, entropy_regularisation, weighted_bce
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.training import episodes, reptile
from napari_fewshot_cells.training.config import EpisodeShape, ReptileConfig, check_sources
from napari_fewshot_cells.training.episodes import Episode, draw_episode, seen_bright, to_device
from napari_fewshot_cells.training.ranks import open_fabric
from napari_fewshot_cells.training.reptile import get_theta, inner_loop, meta_step, set_theta

from .adam import adam_by_hand, assert_same_steps

FABRIC = open_fabric()
SMALL = EpisodeShape(k_shot=2, inner_steps=2, crops=2, other_crops=1, crop_size=32)
CONFIG = ReptileConfig(episode=SMALL, seed=3)


def flat(theta):
    return torch.cat([value.flatten() for value in theta.values()]).double().numpy()


def episode_of(tasks, m, iteration=0):
    episode = draw_episode(tasks, m, SMALL, np.random.default_rng([CONFIG.seed, iteration, m]))
    return to_device(episode, torch.device("cpu"))  # as channels-last: another layout rounds differently


@pytest.mark.parametrize("meta_lr", [1.0, 0.3])
def test_meta_step_is_eq_2(tasks, meta_lr):
    network, config = build_network("fcrn", 0), replace(CONFIG, meta_lr=meta_lr)
    theta = get_theta(network)
    adapted = [
        inner_loop(copy.deepcopy(network), theta, episode_of(tasks, m), config, FABRIC)[0]
        for m in range(len(tasks))
    ]
    losses = list(meta_step(network, tasks, config, iteration=0, fabric=FABRIC))
    changes = [flat(theta_m) - flat(theta) for theta_m in adapted]
    expected = flat(theta) + meta_lr * np.sum(changes, axis=0) / len(tasks)
    np.testing.assert_allclose(flat(get_theta(network)), expected, atol=1e-6)
    assert [x.task for x in losses] == ["B39", "EM"]
    assert np.abs(changes[0] - changes[1]).max() > 1e-4


@pytest.mark.parametrize(
    ("entropy_kind", "distillation_kind"), [("printed", "pairwise"), ("full", "matched")]
)
def test_inner_loop_is_adam_on_the_sum_of_the_three_losses(tasks, entropy_kind, distillation_kind):
    shape = replace(SMALL, inner_steps=1, other_crops=2)
    config = ReptileConfig(0.5, 0.25, episode=shape, entropy=entropy_kind, distillation=distillation_kind)
    episode = draw_episode(tasks, 0, config.episode, np.random.default_rng(0))
    network = build_network("unet", 1)
    theta = get_theta(network)
    theta_m, (bce, entropy, distance, last) = inner_loop(network, theta, episode, config, FABRIC)

    by_hand = build_network("unet", 1).train()
    s_m, x_n, x_p = episode.annotated[0], episode.other_n[0], episode.other_p[0]
    logits, latent = by_hand(s_m.image)
    terms = [
        weighted_bce(logits, s_m.target, s_m.weight),
        entropy_regularisation(by_hand(x_n)[0], full=entropy_kind == "full"),
        distillation(latent, by_hand(x_p)[1], matched=distillation_kind == "matched"),
    ]
    (terms[0] + 0.5 * terms[1] + 0.25 * terms[2]).backward()
    assert [bce, entropy, distance, last] == pytest.approx([*(t.item() for t in terms), terms[0].item()])
    for name, parameter in by_hand.named_parameters():
        gradient = parameter.grad + config.weight_decay * parameter.detach()
        first_adam_step = config.lr * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(theta_m[name], theta[name] - first_adam_step, atol=2e-6, rtol=1e-3)


def test_the_inner_loop_keeps_adams_moments_over_its_steps(tasks):
    """Three steps against Adam written out in float64, with the gradients of the loss itself."""
    config = ReptileConfig(0.5, 0.25, lr=1e-3, episode=replace(SMALL, inner_steps=3))
    episode = draw_episode(tasks, 0, config.episode, np.random.default_rng(0))
    network = build_network("unet", 1)
    theta_m, _ = inner_loop(network, get_theta(network), episode, config, FABRIC)

    by_hand = build_network("unet", 1).train()

    def loss_of_step(step):
        s_m = episode.annotated[step - 1]
        logits, latent = by_hand(s_m.image)
        entropy = entropy_regularisation(by_hand(episode.other_n[step - 1])[0], full=False)
        distance = distillation(latent, by_hand(episode.other_p[step - 1])[1], matched=False)
        return weighted_bce(logits, s_m.target, s_m.weight) + 0.5 * entropy + 0.25 * distance

    adam_by_hand(by_hand, loss_of_step, 3, config.lr, config.weight_decay)
    assert_same_steps(theta_m, by_hand, 3, config.lr)


def test_alpha_and_beta_zero_is_plain_bce(tasks):
    config = replace(CONFIG, alpha=0.0, beta=0.0)
    episode = episode_of(tasks, 0)
    noise = replace(episode, other_n=tuple(torch.rand_like(x) for x in episode.other_n))
    network = build_network("fcrn", 0)
    theta = get_theta(network)
    one, losses = inner_loop(network, theta, episode, config, FABRIC)
    two, _ = inner_loop(network, theta, noise, config, FABRIC)
    np.testing.assert_array_equal(flat(one), flat(two))
    assert losses[1:3] == (0, 0)


@pytest.fixture
def drawn_from(monkeypatch):
    """Names of the tasks that an episode draws from, in order of drawing."""
    names, draw_samples = [], episodes._draw_samples

    def noted(task, shape, rng):
        names.append(task.name)
        return draw_samples(task, shape, rng)

    monkeypatch.setattr(episodes, "_draw_samples", noted)
    return names


@pytest.mark.parametrize("allow_same", [True, False])
def test_other_domains_are_never_the_task_itself_and_may_be_the_same(tasks, drawn_from, allow_same):
    three = [*tasks, replace(tasks[0], name="copy")]
    for seed in range(12):
        draw_episode(three, 0, SMALL, np.random.default_rng(seed), allow_same=allow_same)
    assert drawn_from[::3] == ["B39"] * 12
    others = set(zip(drawn_from[1::3], drawn_from[2::3], strict=True))
    distinct, same = {("EM", "copy"), ("copy", "EM")}, {("EM", "EM"), ("copy", "copy")}
    assert others == (distinct | same if allow_same else distinct)


def test_what_is_not_needed_is_not_drawn_and_does_not_change_the_task_s_own_crops(tasks, drawn_from):
    def draw(needs_n, needs_p):
        drawn_from.clear()
        rng = np.random.default_rng(7)
        episode = draw_episode(tasks, 1, SMALL, rng, needs_n=needs_n, needs_p=needs_p)
        assert drawn_from == ["EM"] + ["B39"] * (needs_n + needs_p)
        assert (len(episode.other_n), len(episode.other_p)) == (2 * needs_n, 2 * needs_p)
        return episode

    whole, without_p, without_n, plain = (
        draw(True, True),
        draw(True, False),
        draw(False, True),
        draw(False, False),
    )
    for episode in (without_p, without_n, plain):
        assert all(
            torch.equal(one.image, other.image)
            for one, other in zip(whole.annotated, episode.annotated, strict=True)
        )
    assert all(map(torch.equal, whole.other_n, without_p.other_n))


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("jitter", [1.0, 1.5])
def test_the_scale_of_an_episode(tasks, monkeypatch, rescale, jitter):
    factors = []

    def noted(sample, factor):
        factors.append(factor)
        return sample

    monkeypatch.setattr(episodes, "rescale_sample", noted)
    shape = replace(SMALL, k_shot=3, scale_jitter=jitter, rescale=rescale)
    drawn = []
    for seed in range(20):
        factors.clear()
        draw_episode(tasks[:1], 0, shape, np.random.default_rng(seed), needs_n=False, needs_p=False)
        drawn.append(sorted(factors))
    canonical = 28 / np.array(tasks[0].diameters) if rescale else np.ones(3)
    ratios = np.array(drawn) / np.sort(canonical)
    np.testing.assert_allclose(ratios, ratios[:, :1].repeat(3, axis=1))  # one domain, one scale
    assert ratios.min() >= 1 / jitter - 1e-9
    assert ratios.max() <= jitter + 1e-9
    assert np.ptp(ratios) > 0.4 * (jitter - 1 / jitter) or jitter == 1


def test_one_source_will_do_for_plain_bce_alone(tasks):
    draw_episode(tasks[:1], 0, SMALL, np.random.default_rng(0), needs_n=False, needs_p=False)
    with pytest.raises(ValueError, match="at least two source sets"):
        draw_episode(tasks[:1], 0, SMALL, np.random.default_rng(0), needs_p=False)
    with pytest.raises(ValueError, match="at least three source sets"):
        draw_episode(tasks, 0, SMALL, np.random.default_rng(0), allow_same=False)


@pytest.mark.parametrize(
    ("alpha", "beta", "allow_same", "fewest"),
    [
        (0, 0, False, 1),
        (0.1, 0, False, 2),
        (0, 0.01, False, 2),
        (0.01, 0.01, True, 2),
        (0.01, 0.01, False, 3),
    ],
)
def test_fewest_sources(alpha, beta, allow_same, fewest):
    config = ReptileConfig(alpha, beta, allow_same=allow_same)
    check_sources(config, fewest)
    if fewest > 1:
        with pytest.raises(DataError, match="at least"):
            check_sources(config, fewest - 1)


def test_matched_distillation_needs_pairs():
    with pytest.raises(FewShotError, match="5 of S̃_m and 1 of S̃_p"):
        ReptileConfig(distillation="matched", episode=EpisodeShape(crops=5, other_crops=1))
    ReptileConfig(beta=0, distillation="matched", episode=EpisodeShape(crops=5, other_crops=1))


def test_annealed_epsilon_falls_linearly(tasks):
    assert [ReptileConfig(meta_lr=0.8).epsilon(share) for share in (0, 0.5)] == [0.8, 0.8]
    annealed = replace(CONFIG, meta_lr=0.8, anneal=True)
    assert [annealed.epsilon(share) for share in (0, 0.25, 1)] == pytest.approx([0.8, 0.6, 0])
    ends = []
    for config, share in ((annealed, 0.25), (replace(CONFIG, meta_lr=0.6), 0.0)):
        network = build_network("fcrn", 0)
        list(meta_step(network, tasks, config, 0, FABRIC, share=share))
        ends.append(flat(get_theta(network)))
    np.testing.assert_allclose(*ends, atol=1e-7)


def test_bf16_passes_train_float32_weights(tasks):
    theta = get_theta(build_network("fcrn", 0))
    ends = [
        inner_loop(build_network("fcrn", 0), theta, episode_of(tasks, 0), CONFIG, fabric)
        for fabric in (FABRIC, open_fabric("cpu", "bf16-mixed"))
    ]
    assert {value.dtype for value in ends[1][0].values()} == {torch.float32}
    assert not np.array_equal(flat(ends[0][0]), flat(ends[1][0]))
    assert ends[1][1] == pytest.approx(ends[0][1], rel=0.05)


def test_a_fixed_seed_repeats_bit_for_bit(tasks):
    ends = []
    for seed in (3, 3, 4):
        network = build_network("fcrn", 0)
        for iteration in range(2):
            list(meta_step(network, tasks, replace(CONFIG, seed=seed), iteration, FABRIC))
        ends.append(flat(get_theta(network)))
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


def test_episode_holds_what_its_shape_says(tasks):
    episode = episode_of(tasks, 1)
    assert len(episode.annotated) == len(episode.other_n) == len(episode.other_p) == 2
    assert episode.annotated[0].image.shape == episode.annotated[0].target.shape == (2, 1, 32, 32)
    assert episode.other_n[0].shape == (1, 1, 32, 32)


def test_sets_are_seen_bright(tasks):
    dark = replace(
        tasks[0],
        shots=tuple(replace(s, plane=Plane(s.plane.name, -s.plane.pixels)) for s in tasks[0].shots),
    )
    for task in (tasks[0], dark):
        for sample, shot in zip(seen_bright(task).samples, task.shots, strict=True):
            cells = sample.target > 0
            assert sample.image[cells].mean() > sample.image[~cells].mean()
            np.testing.assert_array_equal(sample.target, shot.target)


def test_set_theta_takes_copies():
    network = build_network("fcrn", 0)
    theta = get_theta(network)
    set_theta(network, {name: value + 1 for name, value in theta.items()})
    np.testing.assert_allclose(flat(get_theta(network)), flat(theta) + 1, rtol=1e-6)


class Toy(torch.nn.Module):
    """A network with one weight w. The latent code of an image of value c is w - c; of a black image, 0."""

    def __init__(self, w):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(float(w)))

    def forward(self, x):
        return 0 * self.w * x, torch.where(x == 0, torch.zeros_like(x), self.w - x)


@pytest.fixture
def quadratic(monkeypatch, tasks):
    """Tasks whose only loss is L_D = (w - c_m)²: nothing is annotated, and S̃_p is black."""
    centres = [-1.0, 4.0]

    def episode(_tasks, m, shape, rng, **_):
        c, black = torch.full((1, 1, 2, 2), centres[m]), torch.zeros(1, 1, 2, 2)
        batch = Batch(c, black, black)
        return Episode((batch,) * shape.inner_steps, (), (black,) * shape.inner_steps)

    monkeypatch.setattr(reptile, "draw_episode", episode)
    return np.array(centres)


def trajectory(w, tasks, config, iterations):
    network, ws = Toy(w), [w]
    for iteration in range(iterations):
        list(meta_step(network, tasks, config, iteration, FABRIC))
        ws.append(network.w.item())
    return np.array(ws)


@pytest.mark.parametrize("inner_steps", [1, 5])
@pytest.mark.parametrize("meta_lr", [1.0, 0.3])
def test_quadratic_trajectory_with_gradient_descent_inside(
    monkeypatch, tasks, quadratic, inner_steps, meta_lr
):
    # k steps of gradient descent on (w - c)² take w to c + (1 - 2η)^k (w - c). So Reptile approaches the
    # mean of the c's, c̄, geometrically: w_i = c̄ + (1 - ε (1 - (1 - 2η)^k))^i (w_0 - c̄).
    monkeypatch.setattr(torch.optim, "Adam", torch.optim.SGD)
    eta, mean = 0.05, quadratic.mean()
    shape = EpisodeShape(inner_steps=inner_steps)
    config = ReptileConfig(alpha=0, beta=1, meta_lr=meta_lr, lr=eta, weight_decay=0, episode=shape)
    ratio = 1 - meta_lr * (1 - (1 - 2 * eta) ** inner_steps)
    expected = mean + ratio ** np.arange(9) * (10 - mean)
    np.testing.assert_allclose(trajectory(10.0, tasks, config, 8), expected, rtol=1e-5)


def test_quadratic_trajectory_with_adam_s_first_step_inside(tasks, quadratic):
    # Adam's first step is η sign(w - c) at any distance. So Reptile moves by 0.5 an iteration, from 10.25 to
    # 3.75, between the c's. There the steps of the two tasks cancel, and it stays.
    config = ReptileConfig(
        alpha=0, beta=1, meta_lr=0.5, lr=1.0, weight_decay=0, episode=EpisodeShape(inner_steps=1)
    )
    expected = np.maximum(10.25 - 0.5 * np.arange(17), 3.75)
    np.testing.assert_allclose(trajectory(10.25, tasks, config, 16), expected, atol=1e-5)
