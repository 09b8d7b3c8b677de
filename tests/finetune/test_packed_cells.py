"""Tissue without background: cells are found if the network knows where cells touch."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from napari_fewshot_cells import fine_tune, finish, label_instances, load_model, predict_cells
from napari_fewshot_cells.base.errors import AnnotationError
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import Shot, make_shot, make_support_set
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.prediction.metrics import average_precision, iou


def honeycomb(seed: int) -> Shot:
    """Cells of some 28 px that fill an image of 224², with dark walls; every pixel is annotated as a cell."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(0, 260, 28), np.arange(0, 260, 28)), axis=-1).reshape(-1, 2)
    middles = grid + rng.uniform(-8, 8, grid.shape)
    pixels = np.stack(np.mgrid[:224, :224], axis=-1).reshape(-1, 2)
    distances, nearest = cKDTree(middles).query(pixels, k=2)
    labels = (nearest[:, 0] + 1).reshape(224, 224).astype(np.int32)
    wall = gaussian_filter((np.diff(distances)[:, 0].reshape(224, 224) < 3).astype(float), 1)
    image = 0.8 - 0.6 * wall + rng.normal(0, 0.05, labels.shape)
    return make_shot(to_plane(image, f"honeycomb {seed}"), labels, whole_image=True)


def test_the_bundled_network_finds_every_cell_of_a_tissue_without_background() -> None:
    shot, other = honeycomb(0), honeycomb(1)
    model = finish(fine_tune(load_model("half-unet"), make_support_set([shot])))
    assert model.card.contact_logit is not None
    maps = predict_cells(model, other.plane)
    assert iou(maps.probability > 0.5, other.labels) > 0.95
    diameter = model.card.diameter
    by_contact = label_instances(maps.probability, contact=maps.contact, diameter=diameter)
    assert average_precision(by_contact, other.labels) > 0.8
    assert average_precision(label_instances(maps.probability, diameter=diameter), other.labels) < 0.1


def test_a_network_that_does_not_know_contacts_says_what_to_do() -> None:
    start = Model(ModelCard("random", "half-unet"), build_network("half-unet", 0))
    with pytest.raises(AnnotationError, match="does not know where cells touch; leave some background"):
        finish(fine_tune(start, make_support_set([honeycomb(0)])))
