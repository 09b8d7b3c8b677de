"""Algorithm 1: Reptile with the three losses."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..base.errors import DataError, FewShotError
from ..models.batch_norm import reset_statistics
from ..models.losses import distillation, entropy_regularisation, weighted_bce
from ..models.networks import SegmentationNetwork
from .episodes import Episode, EpisodeShape, Task, draw_episode, to_device
from .ranks import sum_over_ranks

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Theta = dict[str, Tensor]
"""Parameters by name; batch-norm statistics are none of them."""


@dataclass(frozen=True)
class ReptileConfig:
    """Hyper-parameters, named as in the paper, and switches; the defaults of the switches are the paper's.

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
    entropy : {"printed", "full"}
        L_ER as printed, of the foreground alone, or the full binary entropy.
    distillation : {"pairwise", "matched"}
        L_D over all pairs of images, as printed, or of image i with image i, as in the authors' code; that
        needs as many crops of S̃_p as of S̃_m.
    allow_same : bool
        n = p is allowed.
    anneal : bool
        ε falls linearly to 0 over the run's budget.

    Raises
    ------
    FewShotError
        Matched distillation with different numbers of crops.
    """

    alpha: float = 0.01
    beta: float = 0.01
    meta_lr: float = 1.0
    lr: float = 1e-3
    weight_decay: float = 5e-4
    episode: EpisodeShape = field(default_factory=EpisodeShape)
    seed: int = 0
    entropy: Literal["printed", "full"] = "printed"
    distillation: Literal["pairwise", "matched"] = "pairwise"
    allow_same: bool = True
    anneal: bool = False

    def __post_init__(self) -> None:
        if self.beta and self.distillation == "matched" and self.episode.crops != self.episode.other_crops:
            raise FewShotError(
                f"Matched distillation pairs crop with crop, but there are {self.episode.crops} of S̃_m and "
                f"{self.episode.other_crops} of S̃_p in a step; make --crops and --other-crops the same."
            )

    def epsilon(self, share: float) -> float:
        """ε of Eq. 2 when this share of the budget, 0 to 1, is spent."""
        return self.meta_lr * (1 - share) if self.anneal else self.meta_lr

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


def check_sources(config: ReptileConfig, n_sources: int) -> None:
    """L_ER and L_D look at other domains than S_m; make sure that there are enough.

    Raises
    ------
    DataError
        Too few source sets for the losses that are on.
    """
    if (config.alpha or config.beta) and n_sources < 2:
        raise DataError("L_ER and L_D need at least two source sets; give more, or alpha and beta 0.")
    if config.alpha and config.beta and not config.allow_same and n_sources < 3:
        raise DataError(
            "Two distinct other domains need at least three source sets; give more, or let n = p."
        )


def meta_step(
    network: SegmentationNetwork,
    tasks: Sequence[Task],
    config: ReptileConfig,
    iteration: int,
    fabric: Fabric,
    *,
    share: float = 0.0,
) -> Generator[InnerLosses, None, None]:
    """One iteration of Algorithm 1 over all source sets; changes the network in place.

    Every task of every iteration has its own random stream, so that a run goes on bit for bit from a
    checkpoint of θ alone, and so that it does not matter which rank computes the task. The ranks exchange
    each task's θ'_m − θ by itself (zeros from those that did not compute it) and add up afterwards: then
    rounding does not depend on their number. Were it to, runs would part at once, since Adam's first step is
    η · sign(gradient), also where the gradient is all but zero.

    Parameters
    ----------
    network : SegmentationNetwork
        θ, the same on every rank.
    tasks : sequence of Task
        All source sets, on every rank: any of them may be another task's S̃_n or S̃_p.
    config : ReptileConfig
    iteration : int
        From 0.
    fabric : Fabric
        The ranks among which the tasks are divided.
    share : float
        Part of the budget that is spent, 0 to 1, for annealing.

    Yields
    ------
    InnerLosses
        After each inner loop, then those of the other ranks: |S| of them. θ is updated after the last.
    """
    theta = get_theta(network)
    changes = {name: value.new_zeros(len(tasks), *value.shape) for name, value in theta.items()}
    losses = torch.zeros(len(tasks), 4)
    mine = range(fabric.global_rank, len(tasks), fabric.world_size)
    for m in mine:
        rng = np.random.default_rng([config.seed, iteration, m])
        episode = to_device(_draw_for(config, tasks, m, rng), fabric.device)
        theta_m, terms = inner_loop(network, theta, episode, config, fabric)
        losses[m] = torch.tensor(terms)
        for name, change in changes.items():
            change[m] = theta_m[name] - theta[name]
        yield InnerLosses(tasks[m].name, *terms)
    changes = sum_over_ranks(fabric, changes)
    losses = sum_over_ranks(fabric, {"losses": losses})["losses"]
    for m in sorted(set(range(len(tasks))).difference(mine)):
        yield InnerLosses(tasks[m].name, *losses[m].tolist())
    step = config.epsilon(share) / len(tasks)
    set_theta(network, {name: theta[name] + step * changes[name].sum(dim=0) for name in theta})  # Eq. 2


def inner_loop(
    network: SegmentationNetwork, theta: Theta, episode: Episode, config: ReptileConfig, fabric: Fabric
) -> tuple[Theta, tuple[float, float, float, float]]:
    """θ'_m = g(L_BCE(θ, S̃_m) + α L_ER(θ, S̃_n) + β L_D(θ, S̃_m, S̃_p)): several Adam steps from θ.

    The three sets go through the network one by one, each normalised by its own batch statistics; a set
    whose loss has no weight does not go through it at all.

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
    full, matched = config.entropy == "full", config.distillation == "matched"
    history = []

    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        with fabric.autocast():
            logits, latent = network(x)
        return logits.float(), latent.float()

    for step, s_m in enumerate(episode.annotated):
        optimiser.zero_grad()
        logits, latent_m = f(s_m.image)
        bce = weighted_bce(logits, s_m.target, s_m.weight)
        entropy = distance = torch.zeros_like(bce)
        if config.alpha:
            entropy = entropy_regularisation(f(episode.other_n[step])[0], full=full)
        if config.beta:
            distance = distillation(latent_m, f(episode.other_p[step])[1], matched=matched)
        loss = bce + config.alpha * entropy + config.beta * distance
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        history.append(torch.stack([bce, entropy, distance]).detach())
    terms = torch.stack(history).cpu()
    bce_mean, entropy_mean, distance_mean = terms.mean(dim=0).tolist()
    return get_theta(network), (bce_mean, entropy_mean, distance_mean, float(terms[-1, 0]))


def _draw_for(config: ReptileConfig, tasks: Sequence[Task], m: int, rng: np.random.Generator) -> Episode:
    return draw_episode(
        tasks,
        m,
        config.episode,
        rng,
        needs_n=config.alpha > 0,
        needs_p=config.beta > 0,
        allow_same=config.allow_same,
    )
