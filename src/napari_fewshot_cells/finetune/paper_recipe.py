"""Fine-tuning as in the paper: epochs over overlapping crops at native scale, without augmentation.

An image has about 130 crops, and twenty epochs take minutes for each shot on a CPU: this is for reproducing
the paper. `fine_tune` is what the button runs.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, replace

import numpy as np
import torch

from ..base.progress import Progress
from ..data.crops import Sample
from ..data.stride_crops import cut_batch, epoch_batches, stride_crops
from ..data.support_set import SupportSet
from ..models.batch_norm import learn_affine
from ..models.losses import weighted_bce
from ..models.model import Model
from ..models.networks import SegmentationNetwork
from .calibration import calibration_steps
from .fine_tune import adapted_card
from .prepare import to_samples
from .recipe import PaperRecipe

INITIAL_SCALE = 0.1
"""Initial scale of FCRN's batch-norm layers; from the authors' code."""


def paper_fine_tune(
    model: Model,
    support: SupportSet,
    *,
    recipe: PaperRecipe,
    seed: int = 0,
    device: str = "cpu",
) -> Generator[Progress, None, Model]:
    """Adapt a model to the annotated images with L_BCE (Eq. 3), as the paper does.

    Parameters
    ----------
    model : Model
        It is not changed.
    support : SupportSet
    recipe : PaperRecipe
    seed : int
        Of the order of the crops; the same seed on the same machine gives the same weights.
    device : str
        "cpu", "cuda" or "mps".

    Yields
    ------
    Progress
        After each Adam step. Closing the generator cancels.

    Returns
    -------
    Model
        On the CPU. Its card holds threshold, shots and parent.

    Raises
    ------
    AnnotationError
        The annotation vanishes at the network's scale.
    """
    diameter, samples = to_samples(model, support, rescale=recipe.rescale)
    network = copy.deepcopy(model.network)
    if recipe.learn_affine and model.card.architecture == "fcrn":
        learn_affine(network, scale=INITIAL_SCALE)
    network.to(device)
    steps = yield from _train(network, samples, recipe, np.random.default_rng(seed), device)
    calibration = yield from calibration_steps(
        network,
        samples,
        batch_norm=recipe.batch_norm,
        calibrate=recipe.calibrate,
        quick=recipe.precision == "bf16-mixed",
        device=device,
    )
    card = replace(
        adapted_card(model.card, support, diameter=diameter, decision_logit=calibration.decision_logit),
        batch_norm=recipe.batch_norm,
        hyper_parameters={**asdict(recipe), "steps_done": steps},
        seed=seed,
    )
    return Model(card, network.cpu().eval())


def _train(
    network: SegmentationNetwork,
    samples: Sequence[Sample],
    recipe: PaperRecipe,
    rng: np.random.Generator,
    device: str,
) -> Generator[Progress, None, int]:
    started = time.perf_counter()
    crops = stride_crops(samples, recipe.crop_size, recipe.stride, recipe.min_foreground)
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    half = recipe.precision == "bf16-mixed"
    passes = torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=half)
    step, total = 0, recipe.epochs * -(-len(crops) // recipe.batch)
    for _ in range(recipe.epochs):
        for chosen in epoch_batches(len(crops), recipe.batch, rng):
            batch = cut_batch([crops[i] for i in chosen], recipe.crop_size)
            optimiser.zero_grad()
            with passes:
                logits, _ = network(batch.image.to(device, memory_format=torch.channels_last))
            loss = weighted_bce(logits.float(), batch.target.to(device), batch.weight.to(device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
            yield Progress("fine-tuning", step, total, time.perf_counter() - started, loss.item())
    return step
