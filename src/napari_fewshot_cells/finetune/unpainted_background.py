"""Unpainted pixels count as background, with more weight the rarer cells are.

Strokes mark few of the things that look like a cell but are none. If cells are rare, a doubtful unpainted
pixel nearly always belongs to one of these; if cells are many, it may belong to a cell. The network's own
predictions during training give the share of cells: see `calibration.share_threshold`.
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
from .calibration import expected_log_ratio, share_threshold

ESTIMATED_AT = (0.25, 0.5, 0.75)
"""Shares of a training after which the share of cells is estimated; before the first the weight is 0."""

_RARE = 6.0  # background / foreground; if it is less, unpainted pixels have no weight
_SLOPE = 2.0  # of the weight against odds / _RARE
_LARGEST_WEIGHT = 5.0
_CROPS = 12


class UnpaintedBackground:
    """A term of the loss in addition to L_BCE, with a weight that changes during training.

    Parameters
    ----------
    samples : sequence of Sample
        The support set; if none is partly annotated, the weight stays 0.
    balance : float
        Power of w in L_BCE.
    crop_size : int
        Side, in pixels, of the crops on which the share of cells is estimated.
    seed : int
        Of these crops.

    Attributes
    ----------
    weight : float
        Of `losses.doubtful_background`.
    """

    def __init__(self, samples: Sequence[Sample], balance: float, crop_size: int, seed: int) -> None:
        self.weight = 0.0
        self._most = _LARGEST_WEIGHT  # only falls: a network that loses cells finds them rarer and rarer
        self._samples = [sample for sample in samples if not sample.whole]
        self._balance = balance
        self._size = crop_size
        self._rng = np.random.default_rng([seed, 1])
        self._due_after = list(ESTIMATED_AT) if self._samples else []

    def adjust(self, network: SegmentationNetwork, trained: float) -> None:
        """Set the weight from the share of cells that the network finds, if an estimate is due.

        Parameters
        ----------
        network : SegmentationNetwork
            In training. It is not changed.
        trained : float
            Share of the training that is done, 0 to 1.
        """
        due = [share for share in self._due_after if share <= trained]
        if not due:
            return
        del self._due_after[: len(due)]
        odds = np.exp(self._log_odds(network))
        self._most = min(self._most, float(np.clip(_SLOPE * (odds / _RARE - 1), 0, _LARGEST_WEIGHT)))
        self.weight = self._most

    def loss(self, logits: Tensor, batch: Batch) -> Tensor | None:
        """The weighted term for one step; None if the weight is 0."""
        if not self.weight or batch.unpainted is None:
            return None
        return self.weight * doubtful_background(logits, batch.unpainted.to(logits.device))

    def _log_odds(self, network: SegmentationNetwork) -> float:
        """log(background / foreground) of the partly annotated images, estimated from the network."""
        device = next(network.parameters()).device
        turns = [self._samples[i % len(self._samples)] for i in range(_CROPS)]
        crops = torch.from_numpy(np.stack([self._crop(sample) for sample in turns]))[:, None].to(device)
        crops = crops.contiguous(memory_format=torch.channels_last)
        copied = copy.deepcopy(network)
        with quick_passes(device.type):
            store_statistics(copied, [crops])
            with torch.inference_mode():
                logits, _ = copied.eval()(crops)
        ratios = [expected_log_ratio(sample, self._balance, self.weight) for sample in turns]
        expected = float(np.mean(ratios))
        return share_threshold(logits.float().cpu().numpy(), expected) + expected

    def _crop(self, sample: Sample) -> FloatImage:
        row, column = (int(self._rng.integers(max(1, n - self._size + 1))) for n in sample.image.shape)
        crop: FloatImage = cut_crop(sample, (row, column), self._size)[0]
        return crop
