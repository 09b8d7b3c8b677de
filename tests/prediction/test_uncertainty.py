"""Suggestions for networks and images with a known answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.networks import SegmentationNetwork, build_network
from napari_fewshot_cells.prediction.uncertainty import VIEWS, rank_regions


class Convolution(SegmentationNetwork):
    """A network whose logits are one convolution of the image."""

    stride, receptive_radius = 1, 1

    def __init__(self, kernel: list[list[float]]) -> None:
        super().__init__()
        weight = torch.tensor(kernel)[None, None]
        self.convolution = nn.Conv2d(1, 1, weight.shape[-2:], padding="same", bias=False)
        self.convolution.weight.data = weight

    def encode_decode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.convolution(x), x


def model_of(kernel: list[list[float]], **card: object) -> Model:
    return Model(ModelCard("constructed", "fcrn", diameter=28.0, **card), Convolution(kernel))


def binary(shape: tuple[int, int] = (120, 160)) -> np.ndarray:
    """Squares of 0 and 1, which gamma does not change."""
    rows, columns = np.indices(shape)
    return ((rows // 10 + columns // 10) % 2).astype(np.float32)


POINT = [[8.0]]
SLOPE = [[0.0, 0.0, 0.0], [-4.0, 4.0, 0.0], [0.0, 0.0, 0.0]]  # sees left edges only, so that turning matters


def test_a_network_that_sees_the_same_in_every_view_has_nothing_to_ask() -> None:
    regions = finish(rank_regions(model_of(POINT), [to_plane(binary(), "squares")], side=40))
    assert len(regions) == 12
    assert max(region.score for region in regions) == pytest.approx(0, abs=1e-6)


def test_what_depends_on_the_brightness_is_found() -> None:
    image = binary()
    image[40:80, 120:160] *= 0.4  # neither dark nor bright
    first, second, *_ = finish(rank_regions(model_of(POINT), [to_plane(image, "squares")], side=40))
    assert first.box == (40, 120, 80, 160)
    assert first.score > 0.05
    assert second.score == pytest.approx(0, abs=1e-6)


def test_what_depends_on_the_direction_is_found_on_the_right_plane() -> None:
    quiet, loud = np.zeros((120, 160), np.float32), np.zeros((120, 160), np.float32)
    quiet[0, 0] = 1
    loud[84:116, 4:36] = binary((32, 32))
    planes = [to_plane(quiet, "quiet"), to_plane(loud, "loud")]
    first, second, *_ = finish(rank_regions(model_of(SLOPE), planes, side=40))
    assert (first.plane, first.box) == (1, (80, 0, 120, 40))
    assert first.score > 3 * second.score


def test_whole_planes_are_ranked_with_an_infinite_side() -> None:
    steady, unsteady = binary(), binary() * np.linspace(0.2, 1, 160, dtype=np.float32)
    planes = [to_plane(steady, "steady"), to_plane(unsteady, "unsteady")]
    ranked = finish(rank_regions(model_of(POINT), planes, side=math.inf))
    assert [(region.plane, region.box) for region in ranked] == [(1, (0, 0, 120, 160)), (0, (0, 0, 120, 160))]


def test_next_to_nothing_in_a_region_is_no_reason_to_annotate_it() -> None:
    image = np.zeros((40, 80), np.float32)
    image[20, 20] = 0.5  # a speck that gamma changes as much as the rest
    image[5:35, 45:75] = np.where(binary((30, 30)) > 0, 1, 0.5)
    first, second = finish(rank_regions(model_of(POINT, decision_logit=6.0), [to_plane(image, "a")], side=40))
    assert first.box == (0, 40, 40, 80)
    assert second.score < 0.1 * first.score


@pytest.mark.parametrize("shape", [(50, 333), (120, 160), (16, 16), (401, 299)])
@pytest.mark.parametrize("diameter", [14.0, 28.0, 90.0])
def test_regions_divide_a_plane_without_gap_or_overlap(shape: tuple[int, int], diameter: float) -> None:
    model = Model(ModelCard("a", "fcrn", diameter=diameter), Convolution(POINT))
    regions = finish(rank_regions(model, [to_plane(binary(shape), "a")]))
    covered = np.zeros(shape, int)
    for region in regions:
        top, left, bottom, right = region.box
        covered[top:bottom, left:right] += 1
    assert (covered == 1).all()
    assert [region.score for region in regions] == sorted((r.score for r in regions), reverse=True)


@pytest.mark.parametrize("batch_norm", ["support", "image"])
def test_it_can_be_stopped_and_leaves_the_model_as_it_was(batch_norm: str) -> None:
    network = build_network("fcrn", seed=0).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model = Model(ModelCard("a", "fcrn", diameter=28.0, batch_norm=batch_norm), network)
    steps = rank_regions(model, [to_plane(binary(), "a")] * 2)
    events = [next(steps) for _ in range(4)]
    steps.close()
    assert all(event.total == 2 * (1 + len(VIEWS)) for event in events)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
