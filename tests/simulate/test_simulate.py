from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_fewshot_cells.plugin.layers.sample_data import (
    electron_microscopy_sample,
    fluorescent_cells_sample,
)
from napari_fewshot_cells.simulate import (
    electron_microscopy,
    fluorescent_cells,
    partial_annotation,
    phase_contrast,
    scribbles,
)

GENERATORS = pytest.mark.parametrize(
    ("generate", "dtype", "diameter", "fewest"),
    [
        (fluorescent_cells, np.uint16, 28, 60),
        (electron_microscopy, np.uint8, 45, 10),
        (phase_contrast, np.uint8, 36, 50),
    ],
)


def diameters(labels: np.ndarray) -> np.ndarray:
    return 2 * np.sqrt(np.bincount(labels.ravel())[1:] / np.pi)


@GENERATORS
def test_image_and_truth_fit_their_contract(generate, dtype, diameter, fewest):
    image, labels = generate(seed=4)
    assert image.shape == labels.shape == (512, 512)
    assert image.dtype == dtype
    assert labels.dtype == np.int32
    assert len(np.unique(labels)) - 1 == labels.max() >= fewest
    assert abs(np.median(diameters(labels)) - diameter) < 0.15 * diameter
    assert np.unique(image).size > 100  # a textured image, not a drawing


@GENERATORS
def test_every_object_is_one_piece(generate, dtype, diameter, fewest):
    _, labels = generate(seed=2)
    for number in range(1, labels.max() + 1):
        assert ndi.label(labels == number, np.ones((3, 3)))[1] == 1


@GENERATORS
def test_same_seed_same_pixels(generate, dtype, diameter, fewest):
    first, again, other = (generate((96, 130), seed=s) for s in (7, 7, 8))
    assert first[0].shape == (96, 130)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


@GENERATORS
def test_too_small_is_refused(generate, dtype, diameter, fewest):
    with pytest.raises(ValueError, match="64 px"):
        generate((40, 512))


def test_some_nuclei_touch():
    _, labels = fluorescent_cells(seed=0)
    touching = set()
    for a, b in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        seam = (a != b) & (a > 0) & (b > 0)
        touching |= set(a[seam]) | set(b[seam])
    assert 0.1 * labels.max() < len(touching) < 0.8 * labels.max()


def best_iou_of_a_threshold(image: np.ndarray, truth: np.ndarray) -> float:
    smooth = ndi.gaussian_filter(image.astype(float), 2)
    levels = np.percentile(smooth, np.arange(1, 100))
    masks = [m for level in levels for m in (smooth > level, smooth < level)]
    return max((m & truth).sum() / (m | truth).sum() for m in masks)


@pytest.mark.parametrize("generate", [electron_microscopy, phase_contrast])
def test_no_threshold_finds_mitochondria_or_cells_in_phase_contrast(generate):
    image, labels = generate(seed=0)
    assert best_iou_of_a_threshold(image, labels > 0) < 0.6


def test_a_threshold_finds_the_nuclei():
    image, labels = fluorescent_cells(seed=0)
    assert best_iou_of_a_threshold(image, labels > 0) > 0.7


@GENERATORS
def test_annotation_is_partial_and_never_wrong(generate, dtype, diameter, fewest):
    _, labels = generate(seed=1)
    annotation = partial_annotation(labels, seed=1, n_cells=6)
    assert annotation.dtype == np.int32
    np.testing.assert_array_equal(np.unique(annotation), [0, 1, 2, 3, 4, 5, 6, 7])
    assert not (labels[annotation == 1] > 0).any()
    for value in range(2, 8):
        (number,) = np.unique(labels[annotation == value])
        assert number > 0
        np.testing.assert_array_equal(annotation == value, labels == number)  # whole cells
    assert 0.01 < (annotation == 1).mean() < 0.15
    close = ndi.binary_dilation(annotation >= 2, iterations=6) & (annotation == 1)
    assert close.sum() > 300  # borders are learnt from strokes close around the cells


def test_phase_contrast_has_dark_rims_and_bright_halos():
    image, labels = phase_contrast(seed=0)
    cell = labels > 0
    inside, outside = ndi.distance_transform_edt(cell), ndi.distance_transform_edt(~cell)
    background = image[outside > 15].mean()
    assert image[(inside > 2) & (inside <= 6)].mean() < background - 15
    assert image[(outside > 0) & (outside <= 4)].mean() > background + 15
    assert abs(image[inside > 10].mean() - background) < 8  # shade-off


@GENERATORS
@pytest.mark.parametrize("side", [64, 256])
def test_scribbles_are_few_hit_both_classes_and_are_never_wrong(generate, dtype, diameter, fewest, side):
    _, labels = generate((side, side), seed=1)
    for seed in range(3):
        annotation = scribbles(labels, seed=seed)
        assert annotation.dtype == np.int32
        assert 0.003 < (annotation > 0).mean() <= 0.02
        assert (annotation == 1).any()
        assert (annotation > 1).any()
        assert not (labels[annotation == 1] > 0).any()
        for value in range(2, annotation.max() + 1):
            assert len(np.unique(labels[annotation == value])) <= 1
        assert (labels[annotation > 1] > 0).all()
        np.testing.assert_array_equal(annotation, scribbles(labels, seed=seed))


def test_scribbles_stay_in_the_image_where_a_cell_bends_around_its_corner():
    """The long axis of such a cell leaves the image."""
    labels = np.zeros((64, 64), np.int32)
    labels[-4:, -40:] = labels[-40:, -4:] = 1
    annotation = scribbles(labels)
    assert (labels[annotation > 1] == 1).all()
    assert (annotation == 1).any()


def test_a_scribble_is_a_stroke_through_a_cell_not_the_cell():
    _, labels = electron_microscopy(seed=1)
    annotation = scribbles(labels, seed=0, n_cells=5)
    assert annotation.max() == 6
    for value in range(2, 7):
        (number,) = np.unique(labels[annotation == value])
        cell = labels == number
        assert (annotation == value).sum() < 0.4 * cell.sum()
        rows, cols = np.nonzero(annotation == value)
        assert np.hypot(np.ptp(rows), np.ptp(cols)) > 0.6 * np.sqrt(cell.sum())
    beside = ndi.binary_dilation(labels > 0, iterations=6) & (annotation == 1)
    assert beside.sum() > 50  # borders are learnt from strokes close around the cells


def test_annotation_with_few_cells_none_and_no_background():
    labels = np.zeros((80, 80), np.int32)
    assert set(np.unique(partial_annotation(labels, n_cells=3))) == {0, 1}
    labels[20:40, 20:40] = 5
    assert partial_annotation(labels, n_cells=3).max() == 2
    full = np.ones((80, 80), np.int32)
    np.testing.assert_array_equal(partial_annotation(full), 2 * full)


@pytest.mark.parametrize(
    ("sample", "generate", "name"),
    [
        (fluorescent_cells_sample, fluorescent_cells, "simulated fluorescent cells"),
        (electron_microscopy_sample, electron_microscopy, "simulated electron microscopy"),
    ],
)
def test_samples_are_an_image_and_its_annotation(sample, generate, name):
    (image, shown, kind), (annotation, painted, annotation_kind) = sample()
    assert (kind, annotation_kind) == ("image", "labels")
    assert shown["name"] == name
    assert painted["name"] == f"annotation {name}"
    assert painted["metadata"] == {"napari_fewshot_cells": {"annotation_of": name}}
    assert annotation.dtype == np.int32
    truth_image, truth = generate(seed=0)
    np.testing.assert_array_equal(image, truth_image)
    np.testing.assert_array_equal(annotation >= 2, (annotation >= 2) & (truth > 0))
    assert (annotation >= 2).sum() < 0.6 * (truth > 0).sum()
