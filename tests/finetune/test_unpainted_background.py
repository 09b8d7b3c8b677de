"""What strokes leave out: nothing where cells are many, background where they are rare."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from napari_fewshot_cells.data.crops import Sample, sample_crops
from napari_fewshot_cells.finetune.unpainted_background import ESTIMATED_AT, UnpaintedBackground
from napari_fewshot_cells.models.networks import SegmentationNetwork


class Sees(SegmentationNetwork):
    """Takes what is brighter than one half for cells, certain of it."""

    stride, receptive_radius = 1, 0

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(40.0))

    def encode_decode(self, x):
        return self.slope * (x - 0.5), x


class Blind(Sees):
    """Sees background alone."""

    def encode_decode(self, x):
        return self.slope * (x.clamp(max=0.4) - 0.5), x


def striped(share: float, *, whole: bool = False) -> Sample:
    """Cells in every tenth column or so, a stroke through one of them and one beside it."""
    image = np.zeros((120, 120), np.float32)
    image[:, np.arange(120) % 20 < round(20 * share)] = 1
    weight = np.full_like(image, whole)
    weight[40:60, 0] = weight[40:60, 19] = 1
    return Sample(image, image, weight)


def weight_after(samples, trained: float) -> float:
    unpainted = UnpaintedBackground(samples, 0.5, 64, seed=0)
    unpainted.adjust(Sees(), trained)
    return unpainted.weight


@pytest.mark.parametrize(("share", "low", "high"), [(0.05, 3.5, 5), (0.1, 0.6, 1.4), (0.3, 0, 0)])
def test_the_rarer_cells_are_the_more_the_unpainted_says(share, low, high):
    """19 times as much background as cells: 2 · (19 / 6 − 1) = 4.3; 9 times: 1; 2.3 times: none."""
    assert low <= weight_after([striped(share)], trained=ESTIMATED_AT[0]) <= high


def test_complete_masks_leave_nothing_out():
    assert weight_after([striped(0.05, whole=True)], trained=1) == 0


def test_it_looks_when_there_is_something_to_see():
    unpainted = UnpaintedBackground([striped(0.05)], 0.5, 64, seed=0)
    unpainted.adjust(Sees(), ESTIMATED_AT[0] - 0.01)
    assert unpainted.weight == 0
    batch = sample_crops([striped(0.05)], 2, 64, np.random.default_rng(0))
    assert unpainted.loss(torch.zeros_like(batch.image), batch) is None


def test_looking_leaves_the_network_as_it_is():
    network = Sees()
    network.train()
    before = copy.deepcopy(network.state_dict())
    UnpaintedBackground([striped(0.05)], 0.5, 64, seed=0).adjust(network, 1)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_the_weight_never_grows_by_what_it_has_done():
    """A network that unlearns cells finds them ever rarer."""
    unpainted = UnpaintedBackground([striped(0.1)], 0.5, 64, seed=0)
    unpainted.adjust(Sees(), ESTIMATED_AT[0])
    first = unpainted.weight
    unpainted.adjust(Blind(), ESTIMATED_AT[1])
    assert unpainted.weight == first > 0
