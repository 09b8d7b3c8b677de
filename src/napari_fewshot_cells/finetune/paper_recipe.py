"""Fine-tuning as in the paper: epochs over overlapping crops at native scale, without augmentation.

An image has about 130 crops, and twenty epochs take minutes for each shot on a CPU: this is for reproducing
the paper. `fine_tune` is what the button runs.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from ..base.devices import Precision
from ..base.progress import Progress
from ..data.crops import Sample
from ..data.stride_crops import cut_batch, epoch_batches, stride_crops
from ..data.support_set import SupportSet
from ..models.batch_norm import learn_affine
from ..models.losses import weighted_bce
from ..models.model import BatchNorm, Model
from ..models.networks import SegmentationNetwork
from .calibration import calibration_steps
from .fine_tune import adapted_card
from .prepare import to_samples

INITIAL_SCALE = 0.1
"""Initial scale of FCRN's batch-norm layers; from the authors' code."""


@dataclass(frozen=True)
class PaperRecipe:
    """How the paper fine-tunes. Settings that it does not state are from the authors' code.

    Attributes
    ----------
    epochs : int
        Passes over all crops.
    batch : int
        Crops in an Adam step.
    crop_size, stride : int
        Side of a crop, and distance between neighbouring crops, in pixels. The authors' strides are 26 to
        50, depending on the set.
    min_foreground : int
        Crops with fewer foreground pixels are dropped.
    lr, weight_decay : float
        Of Adam; the learning rate is constant.
    learn_affine : bool
        Whether FCRN learns scale and shift of its batch-norm layers, from 0.1 and 0; U-Net never does.
    batch_norm : {"image", "support", "running"}
        Statistics used in prediction. The authors' test code switched stored statistics off. In the PyTorch
        of 2020 that meant the statistics of the test batch; "image" is the same for a batch of one.
    rescale : bool
        Rescale images so that the annotated objects have the canonical diameter; else keep native scale.
    calibrate : bool
        Choose the decision threshold that is best on the shots; else it is 0.5.
    precision : {"32-true", "bf16-mixed"}
        Of the forward passes in training. bfloat16 takes half the time if the device multiplies it natively;
        the authors used float32. With bfloat16, calibration uses it, too, if the CPU multiplies it natively.
    """

    epochs: int = 20
    batch: int = 64
    crop_size: int = 256
    stride: int = 38
    min_foreground: int = 360
    lr: float = 1e-4
    weight_decay: float = 5e-4
    learn_affine: bool = True
    batch_norm: BatchNorm = "image"
    rescale: bool = False
    calibrate: bool = False
    precision: Precision = "32-true"


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
