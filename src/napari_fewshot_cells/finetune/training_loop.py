"""The Adam steps of a recipe on a support set."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator

import numpy as np
import torch

from ..base.bfloat16 import quick_passes
from ..base.progress import Progress
from ..data.crops import sample_crops
from ..models.losses import contact_loss, weighted_bce
from .prepare import Prepared
from .recipe import Recipe


def half_cosine(share: float) -> float:
    """Factor of the learning rate after this share of a training, 0 to 1: it falls from 1 to 0."""
    return (1 + math.cos(math.pi * share)) / 2


def train(
    ready: Prepared,
    recipe: Recipe,
    *,
    seconds: float | None = None,
    stop: Callable[[], bool] | None = None,
    seed: int = 0,
    device: str = "cpu",
    started: float | None = None,
) -> Generator[Progress, None, int]:
    """Train with L_BCE for the recipe's steps, in place; `calibration_steps` comes next.

    Parameters
    ----------
    ready : Prepared
        Its network is trained, and its `unpainted` holds the last weight at the end.
    recipe : Recipe
    seconds, stop, seed, device
        As in `fine_tune`.
    started : float, optional
        Time from which `seconds` count, by `time.perf_counter`; by default now.

    Returns
    -------
    int
        Steps done.
    """
    started = time.perf_counter() if started is None else started
    rng = np.random.default_rng(seed)
    network, samples, unpainted = ready.network, ready.samples, ready.unpainted
    network.train()
    contacts = ready.contacts
    lr = recipe.lr_for(samples)
    in_one_pass = torch.device(device).type == "cpu"  # else PyTorch chooses
    optimiser = torch.optim.Adam(
        network.parameters(), lr=lr, weight_decay=recipe.weight_decay, fused=in_one_pass or None
    )
    elapsed = 0.0
    steps = recipe.steps_for(samples)
    for step in range(1, steps + 1):
        share = max((step - 1) / steps, 0 if seconds is None else min(1, elapsed / seconds))
        optimiser.param_groups[0]["lr"] = lr * half_cosine(share)
        unpainted.adjust(network, share)
        batch = sample_crops(samples, recipe.crops, recipe.crop_size, rng)
        optimiser.zero_grad()
        image = batch.image.to(device, memory_format=torch.channels_last)
        with quick_passes(device):
            outputs = contacts.with_contacts(image) if contacts is not None else network(image)[0]
        outputs = outputs.float()
        logits = outputs[:, :1]
        loss = weighted_bce(logits, batch.target.to(device), batch.weight.to(device), balance=recipe.balance)
        if contacts is not None:
            assert batch.contact is not None, "a shot has contacts"
            assert batch.contact_weight is not None, "and their weight"
            loss = loss + contact_loss(
                outputs[:, 1:], batch.contact.to(device), batch.contact_weight.to(device)
            )
        term = unpainted.loss(logits, batch)
        if term is not None:
            loss = loss + term
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        elapsed = time.perf_counter() - started
        yield Progress("fine-tuning", step, steps, elapsed, loss.item())
        if (seconds is not None and elapsed >= seconds) or (stop is not None and stop()):
            break
    return step
