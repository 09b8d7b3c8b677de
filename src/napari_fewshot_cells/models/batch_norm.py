"""Batch norm: the statistics that a network uses, and the scale and shift that it learns."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .networks import NormLayer, SegmentationNetwork


def norm_layers(network: nn.Module) -> Iterator[nn.BatchNorm2d]:
    """The batch-norm layers of a network, in order."""
    return (module for module in network.modules() if isinstance(module, NormLayer))


def learn_affine(network: nn.Module, scale: float = 1.0) -> None:
    """Give every batch-norm layer a learnable scale and shift (in place).

    Parameters
    ----------
    network : nn.Module
        Layers that already have a scale and a shift keep them.
    scale : float
        Initial scale; the initial shift is zero. A scale of 1 keeps the network's function; the authors' code
        starts fine-tuning with 0.1.
    """
    for layer in norm_layers(network):
        if layer.affine:
            continue
        layer.affine = True
        device = None if layer.running_mean is None else layer.running_mean.device
        layer.weight = nn.Parameter(torch.full((layer.num_features,), scale, device=device))
        layer.bias = nn.Parameter(torch.zeros(layer.num_features, device=device))


def reset_statistics(network: nn.Module) -> None:
    """Reset the stored batch-norm statistics to mean 0 and variance 1 (in place)."""
    for layer in norm_layers(network):
        layer.reset_running_stats()


@torch.no_grad()
def store_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Measure the batch-norm statistics over `batches` and store them for ``eval()`` (in place).

    The stored values are plain averages over the batches, not exponential averages.

    Parameters
    ----------
    batches : iterable of Tensor, float32, (N, 1, H, W)
    """
    was_training = network.training
    reset_statistics(network)
    with _cumulative_average(network), torch.no_grad():
        network.train()
        for batch in batches:
            # pad to at least 4 × 4 positions in FCRN's latent code: a single one has no variance
            below, right = (max(0, 32 - side) for side in batch.shape[-2:])
            network(F.pad(batch, (0, right, 0, below), mode="replicate"))
    network.train(was_training)


@contextmanager
def _cumulative_average(network: nn.Module) -> Iterator[None]:
    momenta = {layer: layer.momentum for layer in norm_layers(network)}
    for layer in momenta:
        layer.momentum = None
    try:
        yield
    finally:
        for layer, momentum in momenta.items():
            layer.momentum = momentum


def fused(network: SegmentationNetwork) -> SegmentationNetwork:
    """Fold the stored batch-norm statistics into the convolutions before them, in a copy for prediction.

    The copy saves a pass over every feature map, so it is faster than the network. Its results are those of
    the network in ``eval()``, except for rounding. Folding takes as long as predicting a small image. A
    network that is folded already is returned as it is.
    """
    if not any(norm_layers(network)):
        return network
    copied = copy.deepcopy(network).eval()
    for block in (module for module in copied.modules() if isinstance(module, nn.Sequential)):
        for number, (convolution, norm) in enumerate(pairwise(block)):
            if isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, NormLayer):
                transposed = isinstance(convolution, nn.ConvTranspose2d)
                block[number] = fuse_conv_bn_eval(convolution, norm, transpose=transposed)
                block[number + 1] = nn.Identity()
    return copied
