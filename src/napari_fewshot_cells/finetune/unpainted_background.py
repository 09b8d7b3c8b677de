"""What strokes leave out: unpainted pixels count as background, the more the rarer cells are.

Strokes show few of the things that look like a cell and are none. Where cells are rare, what is unpainted and
doubtful is nearly always one of these; where they are many, it may as well be a cell. How rare they are, the
network tells while it learns: see `calibration.share_threshold`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..base.bfloat16 import quick_passes
from ..data.crops import Batch, Sample, cut_crop
from ..data.plane import FloatImage
from ..models.batch_norm import store_statistics
from ..models.losses import doubtful_background
from ..models.networks import SegmentationNetwork
from .calibration import brought_in, share_threshold

LOOKS = (0.25, 0.5, 0.75)
"""Parts of a training after which the share of cells is estimated anew; before the first nothing is known."""

_RARE = 6.0  # background / foreground; where it is less the unpainted says nothing
_SLOPE = 2.0  # of the weight against odds / _RARE
_LARGEST_WEIGHT = 5.0
_CROPS = 12


class UnpaintedBackground:
    """A term of the loss beside L_BCE, and its weight, which changes as a training goes on.

    Parameters
    ----------
    samples : sequence of Sample
        The support set; without a partly annotated one the weight stays zero.
    balance : float
        Power of w in L_BCE.
    crop_size : int
        Side in pixels of the crops on which the share of cells is estimated.
    seed : int
        Of these crops.

    Attributes
    ----------
    weight : float
        Of `losses.doubtful_background`.
    """

    def __init__(self, samples: Sequence[Sample], balance: float, crop_size: int, seed: int) -> None:
        self.weight = 0.0
        self._most = _LARGEST_WEIGHT  # only falls: a network that unlearns cells finds them ever rarer
        self._samples = [sample for sample in samples if not sample.whole]
        self._balance = balance
        self._size = crop_size
        self._rng = np.random.default_rng([seed, 1])
        self._looks = list(LOOKS) if self._samples else []

    def adjust(self, network: SegmentationNetwork, trained: float) -> None:
        """Set the weight by the share of cells that a network finds, if it is time to look.

        Parameters
        ----------
        network : SegmentationNetwork
            In training; stays untouched.
        trained : float
            Part of the training that is done, 0 to 1.
        """
        due = [look for look in self._looks if look <= trained]
        if not due:
            return
        del self._looks[: len(due)]
        odds = np.exp(self._log_odds(network))
        self._most = min(self._most, float(np.clip(_SLOPE * (odds / _RARE - 1), 0, _LARGEST_WEIGHT)))
        self.weight = self._most

    def loss(self, logits: Tensor, batch: Batch) -> Tensor | None:
        """The weighted term for one step; None while it has no weight."""
        if not self.weight or batch.unpainted is None:
            return None
        return self.weight * doubtful_background(logits, batch.unpainted.to(logits.device))

    def _log_odds(self, network: SegmentationNetwork) -> float:
        """log(background / foreground) of the partly annotated images, as far as the network can tell."""
        device = next(network.parameters()).device
        turns = [self._samples[i % len(self._samples)] for i in range(_CROPS)]
        crops = torch.from_numpy(np.stack([self._crop(sample) for sample in turns]))[:, None].to(device)
        crops = crops.contiguous(memory_format=torch.channels_last)
        copied = copy.deepcopy(network)
        with quick_passes(device.type):
            store_statistics(copied, [crops])
            with torch.inference_mode():
                logits, _ = copied.eval()(crops)
        expected = float(np.mean([brought_in(sample, self._balance, self.weight) for sample in turns]))
        return share_threshold(logits.float().cpu().numpy(), expected) + expected

    def _crop(self, sample: Sample) -> FloatImage:
        row, column = (int(self._rng.integers(max(1, n - self._size + 1))) for n in sample.image.shape)
        crop: FloatImage = cut_crop(sample, (row, column), self._size)[0]
        return crop
