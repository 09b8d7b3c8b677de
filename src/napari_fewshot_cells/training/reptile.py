"""Algorithm 1: Reptile with the three losses of the paper."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..models.batch_norm import reset_statistics
from ..models.losses import weighted_bce
from ..models.networks import SegmentationNetwork
from .config import ReptileConfig
from .episodes import Episode, Task, draw_episode, to_device
from .loss_terms import LOSS_TERMS, Output
from .ranks import sum_over_ranks

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Theta = dict[str, Tensor]
"""Parameters by name, without batch-norm statistics."""

LOSS_COLUMNS = ("bce", *LOSS_TERMS, "last_bce")
"""The losses that an inner loop reports, in this order."""


@dataclass(frozen=True)
class InnerLosses:
    """The losses of one inner loop.

    Attributes
    ----------
    task : str
        Name of the task.
    values : mapping of str to float
        By `LOSS_COLUMNS`: unweighted means over the steps, and the L_BCE of the last step.
    """

    task: str
    values: Mapping[str, float]


def get_theta(network: SegmentationNetwork) -> Theta:
    """A copy of the parameters."""
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def set_theta(network: SegmentationNetwork, theta: Theta) -> None:
    """Overwrite the parameters (in place)."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(theta[name])


def meta_step(
    network: SegmentationNetwork,
    tasks: Sequence[Task],
    config: ReptileConfig,
    iteration: int,
    fabric: Fabric,
    *,
    share: float = 0.0,
) -> Generator[InnerLosses, None, None]:
    """Run one iteration of Algorithm 1 over all source sets; changes the network in place.

    Each task of each iteration has its own random stream. So a run resumes bit for bit from a checkpoint of θ
    alone, and any rank may compute any task. The ranks exchange each task's θ'_m − θ separately (zeros from
    the ranks that did not compute it) and sum over tasks afterwards, so rounding does not depend on the
    number of ranks. If it did, runs would diverge at once, because Adam's first step is η · sign(gradient)
    even if the gradient is almost zero.

    Parameters
    ----------
    network : SegmentationNetwork
        θ, the same on every rank.
    tasks : sequence of Task
        All source sets, on every rank: each may serve as S̃_n or S̃_p of another task.
    config : ReptileConfig
    iteration : int
        Counted from 0.
    fabric : Fabric
        Divides the tasks among its ranks.
    share : float
        Spent share of the budget, 0 to 1, for annealing.

    Yields
    ------
    InnerLosses
        |S| events: one after each inner loop of this rank, then those of the other ranks. θ is updated after
        the last.
    """
    theta = get_theta(network)
    changes = {name: value.new_zeros(len(tasks), *value.shape) for name, value in theta.items()}
    losses = torch.zeros(len(tasks), len(LOSS_COLUMNS))
    mine = range(fabric.global_rank, len(tasks), fabric.world_size)
    for m in mine:
        rng = np.random.default_rng([config.seed, iteration, m])
        episode = to_device(_draw_for(config, tasks, m, rng), fabric.device)
        theta_m, terms = inner_loop(network, theta, episode, config, fabric)
        losses[m] = torch.tensor(terms)
        for name, change in changes.items():
            change[m] = theta_m[name] - theta[name]
        yield InnerLosses(tasks[m].name, dict(zip(LOSS_COLUMNS, terms, strict=True)))
    changes = sum_over_ranks(fabric, changes)
    losses = sum_over_ranks(fabric, {"losses": losses})["losses"]
    for m in sorted(set(range(len(tasks))).difference(mine)):
        yield InnerLosses(tasks[m].name, dict(zip(LOSS_COLUMNS, losses[m].tolist(), strict=True)))
    step = config.epsilon(share) / len(tasks)
    set_theta(network, {name: theta[name] + step * changes[name].sum(dim=0) for name in theta})  # Eq. 2


def inner_loop(
    network: SegmentationNetwork, theta: Theta, episode: Episode, config: ReptileConfig, fabric: Fabric
) -> tuple[Theta, tuple[float, ...]]:
    """θ'_m = g(L_BCE(θ, S̃_m) + α L_ER(θ, S̃_n) + β L_D(θ, S̃_m, S̃_p)): several Adam steps from θ.

    α and β are the weights of `LOSS_TERMS`, which may hold more terms. The network takes the three sets one
    by one, so batch norm uses the statistics of each set alone. It skips a set that no weighted term needs.

    Returns
    -------
    theta_m : dict of Tensor
    losses : tuple of float
        By `LOSS_COLUMNS`: mean L_BCE, L_ER, L_D, … over the steps, and the L_BCE of the last step.
    """
    set_theta(network, theta)
    reset_statistics(network)
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    others = {"n": episode.other_n, "p": episode.other_p}
    history = []

    def f(x: Tensor, target: Tensor | None = None, weight: Tensor | None = None) -> Output:
        with fabric.autocast():
            logits, latent = network(x)
        return Output(logits.float(), latent.float(), target, weight)

    for step, s_m in enumerate(episode.annotated):
        optimiser.zero_grad()
        outputs = {"m": f(s_m.image, s_m.target, s_m.weight)}
        outputs |= {letter: f(others[letter][step]) for letter in config.others}
        loss = bce = weighted_bce(outputs["m"].logits, s_m.target, s_m.weight)
        values = {"bce": bce, **dict.fromkeys(LOSS_TERMS, torch.zeros_like(bce))}
        for name, term in config.terms.items():  # + α L_ER(θ, S̃_n) + β L_D(θ, S̃_m, S̃_p)
            values[name] = term(outputs, config.variant(name))
            loss = loss + config.weight(name) * values[name]
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        history.append(torch.stack(list(values.values())).detach())
    steps = torch.stack(history).cpu()
    return get_theta(network), (*steps.mean(dim=0).tolist(), float(steps[-1, 0]))


def _draw_for(config: ReptileConfig, tasks: Sequence[Task], m: int, rng: np.random.Generator) -> Episode:
    return draw_episode(
        tasks,
        m,
        config.episode,
        rng,
        needs_n="n" in config.others,
        needs_p="p" in config.others,
        allow_same=config.allow_same,
    )
