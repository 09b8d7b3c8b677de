"""Algorithm 1: Reptile with the three losses."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..losses import distillation, entropy_regularisation, weighted_bce
from ..networks import SegmentationNetwork, reset_statistics
from .tasks import Episode, EpisodeShape, Task, draw_episode, to_device

Theta = dict[str, Tensor]
"""Parameters by name; batch-norm statistics are none of them."""


@dataclass(frozen=True)
class ReptileConfig:
    """Hyper-parameters, named as in the paper.

    Attributes
    ----------
    alpha, beta : float
        Weights of L_ER (Eq. 4) and L_D (Eq. 5).
    meta_lr : float
        ε of Eq. 2.
    lr, weight_decay : float
        Of Adam in the inner loop.
    episode : EpisodeShape
    seed : int
    """

    alpha: float = 0.01
    beta: float = 0.01
    meta_lr: float = 1.0
    lr: float = 1e-3
    weight_decay: float = 5e-4
    episode: EpisodeShape = field(default_factory=EpisodeShape)
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for cards and tables."""
        flat = asdict(self)
        return {**flat.pop("episode"), **flat}


@dataclass(frozen=True)
class InnerLosses:
    """Mean losses of one inner loop, before they are weighted."""

    task: str
    bce: float
    entropy: float
    distillation: float
    last_bce: float


def get_theta(network: SegmentationNetwork) -> Theta:
    """A copy of the parameters."""
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def set_theta(network: SegmentationNetwork, theta: Theta) -> None:
    """Overwrite the parameters (in place)."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(theta[name])


def meta_step(
    network: SegmentationNetwork, tasks: Sequence[Task], config: ReptileConfig, iteration: int
) -> Generator[InnerLosses, None, None]:
    """One iteration of Algorithm 1 over all source sets; changes the network in place.

    Every task of every iteration has its own random stream, so that a run goes on bit for bit from a
    checkpoint of θ alone.

    Yields
    ------
    InnerLosses
        After each inner loop, |S| of them. θ is updated after the last.
    """
    device = next(network.parameters()).device
    theta = get_theta(network)
    sum_of_changes = {name: torch.zeros_like(value) for name, value in theta.items()}
    for m, task in enumerate(tasks):
        rng = np.random.default_rng([config.seed, iteration, m])
        episode = to_device(draw_episode(tasks, m, config.episode, rng), device)
        theta_m, losses = inner_loop(network, theta, episode, config)
        for name, change in sum_of_changes.items():
            change += theta_m[name] - theta[name]
        yield InnerLosses(task.name, *losses)
    step = config.meta_lr / len(tasks)
    set_theta(network, {name: theta[name] + step * sum_of_changes[name] for name in theta})  # Eq. 2


def inner_loop(
    network: SegmentationNetwork, theta: Theta, episode: Episode, config: ReptileConfig
) -> tuple[Theta, tuple[float, float, float, float]]:
    """θ'_m = g(L_BCE(θ, S̃_m) + α L_ER(θ, S̃_n) + β L_D(θ, S̃_m, S̃_p)): several Adam steps from θ.

    The three sets go through the network one by one, each normalised by its own batch statistics.

    Returns
    -------
    theta_m : dict of Tensor
    losses : tuple of float
        Mean L_BCE, L_ER and L_D of the steps, and the L_BCE of the last.
    """
    set_theta(network, theta)
    reset_statistics(network)
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    history = []
    for s_m, x_n, x_p in zip(episode.annotated, episode.other_n, episode.other_p, strict=True):
        optimiser.zero_grad()
        logits, latent_m = network(s_m.image)
        bce = weighted_bce(logits, s_m.target, s_m.weight)
        zero = torch.zeros_like(bce)
        entropy = entropy_regularisation(network(x_n)[0]) if config.alpha else zero
        distance = distillation(latent_m, network(x_p)[1]) if config.beta else zero
        loss = bce + config.alpha * entropy + config.beta * distance
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        history.append(torch.stack([bce, entropy, distance]).detach())
    terms = torch.stack(history).cpu()
    bce_mean, entropy_mean, distance_mean = terms.mean(dim=0).tolist()
    return get_theta(network), (bce_mean, entropy_mean, distance_mean, float(terms[-1, 0]))
