"""Where a stroked cell ends, a network that knows cells tells; one that does not is not asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.crops import Sample
from napari_fewshot_cells.finetune.calibration import HARDLY_KNOWN_IOU
from napari_fewshot_cells.finetune.stroke_outlines import (
    OUTLINE_REACH,
    OUTLINE_WEIGHT,
    agreement_limit,
    outline_steps,
)
from napari_fewshot_cells.models.model import ModelCard
from napari_fewshot_cells.models.networks import SegmentationNetwork


class Sees(SegmentationNetwork):
    """Takes what is brighter than one half for cells; with a negative slope, what is darker."""

    stride, receptive_radius = 1, 0

    def __init__(self, slope: float = 40.0) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))

    def encode_decode(self, x):
        return self.slope * (x - 0.5), x


@pytest.fixture
def stroked():
    """A bright cell 30 pixels high with a stroke through it, and one in the background far away."""
    image = np.zeros((120, 120), np.float32)
    image[40:70, 30:90] = 1
    weight = np.zeros_like(image)
    weight[54:57, 35:85] = weight[100:103, 35:85] = 1
    return Sample(image, image * weight, weight, stroked=True)


def test_the_rim_of_a_stroked_cell_is_what_the_network_sees(stroked):
    (told,) = finish(outline_steps(Sees(), [stroked]))
    distance = distance_transform_edt(stroked.target == 0)
    near = (distance > 0) & (distance <= OUTLINE_REACH)
    np.testing.assert_array_equal(told.weight[near], np.float32(OUTLINE_WEIGHT))
    np.testing.assert_array_equal(told.target[near], stroked.image[near])
    assert stroked.image[near].min() == 0  # the cell ends within reach, above and below it not
    np.testing.assert_array_equal(told.weight[~near], stroked.weight[~near])
    np.testing.assert_array_equal(told.target[stroked.painted], stroked.target[stroked.painted])
    assert told.agreement == 1
    assert not stroked.outlined


def test_paint_stays_paint_where_a_stroke_of_background_is_near(stroked):
    """A person's word outweighs the network's: here a bright pixel beside the stroke is said to be none."""
    weight = stroked.weight.copy()
    weight[60:62, 40:60] = 1
    (told,) = finish(outline_steps(Sees(), [replace(stroked, weight=weight)]))
    assert (told.weight[60:62, 40:60] == 1).all()
    assert (told.target[60:62, 40:60] == 0).all()


def test_a_network_that_contradicts_the_strokes_is_not_believed(stroked):
    (told,) = finish(outline_steps(Sees(slope=-40.0), [stroked]))
    assert told is stroked


def test_cells_painted_in_their_shape_and_whole_masks_are_left_alone(stroked):
    painted = replace(stroked, stroked=False)
    whole = Sample(stroked.image, stroked.image, np.ones_like(stroked.image))
    result = finish(outline_steps(Sees(), [painted, stroked, whole]))
    assert result[0] is painted
    assert result[1].outlined
    assert result[2] is whole


def test_what_a_taught_network_agrees_with_counts_as_before_it_was_taught(stroked):
    (told,) = finish(outline_steps(Sees(), [stroked], limit=0.8))
    assert told.agreement == 0.8
    start = ModelCard("start", "fcrn")
    assert agreement_limit(start) == 1
    taught = replace(start, k_shot=1, hyper_parameters={"agreement": 0.8})
    assert agreement_limit(taught) == 0.8
    for nothing in ({}, {"agreement": 0.0}):  # by cells painted in their shape
        assert agreement_limit(replace(taught, hyper_parameters=nothing)) == HARDLY_KNOWN_IOU


def test_it_tells_how_far_it_is_and_leaves_the_network_as_it_was(stroked):
    network = Sees().train()
    events = list(outline_steps(network, [stroked, stroked]))
    assert [(e.done, e.total) for e in events if e.stage == "outlining"] == [(0, 2), (1, 2)]
    assert network.training
    assert network.slope.item() == 40.0


def test_an_image_that_was_told_everywhere_is_still_no_whole_mask(stroked):
    told = replace(stroked, weight=np.where(stroked.weight == 0, np.float32(0.2), stroked.weight))
    assert told.weight.all()
    assert not told.whole
