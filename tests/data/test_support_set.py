"""What painted labels mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.draw import disk

from napari_fewshot_cells.base.errors import AnnotationError
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import make_shot, make_support_set, median_diameter

plane = to_plane(np.random.default_rng(0).random((100, 120)), "image")


def painted(*discs, radius=10, background=True):
    labels = np.zeros(plane.shape, np.int32)
    if background:
        labels[:3] = 1
    for number, centre in enumerate(discs):
        labels[disk(centre, radius)] = number + 2
    return labels


@given(labels=hnp.arrays(np.uint8, plane.shape, elements=st.integers(0, 4), fill=st.just(0)))
def test_partial_annotation(labels):
    labels[0, :3] = [0, 1, 2]
    shot = make_shot(plane, labels)
    np.testing.assert_array_equal(shot.weight, labels > 0)
    np.testing.assert_array_equal(shot.target, labels >= 2)


@given(labels=hnp.arrays(np.uint8, plane.shape, elements=st.integers(0, 4), fill=st.just(0)))
def test_whole_image_annotation(labels):
    labels[0, :2] = [0, 1]
    shot = make_shot(plane, labels, whole_image=True)
    assert shot.weight.all()
    np.testing.assert_array_equal(shot.target, labels > 0)


@pytest.mark.parametrize(
    ("labels", "whole_image", "message"),
    [
        (np.zeros((100, 120), int), False, "Nothing is annotated on 'image'"),
        (np.zeros((100, 120), int), True, "Nothing is annotated"),
        (np.ones((100, 120), int), False, "Only background"),
        (painted((50, 50), background=False), False, "Only cells .* stroke of background"),
        (np.ones((100, 120), int), True, "Only cells .* unpainted"),
        (np.zeros((99, 120), int), False, r"shape \(99, 120\), the image \(100, 120\)"),
        (np.zeros((100, 120)), False, "float64, not whole numbers"),
    ],
)
def test_useless_annotation_says_what_is_missing(labels, whole_image, message):
    with pytest.raises(AnnotationError, match=message):
        make_shot(plane, labels, whole_image=whole_image)


def test_shots_are_copies():
    labels = painted((50, 50))
    shot = make_shot(plane, labels)
    labels[:] = 0
    assert shot.target.any()


def test_one_to_ten_shots():
    shot = make_shot(plane, painted((50, 50)))
    assert make_support_set([shot] * 10).k_shot == 10
    with pytest.raises(AnnotationError, match="No image is annotated"):
        make_support_set([])
    with pytest.raises(AnnotationError, match="at most 10"):
        make_support_set([shot] * 11)


@pytest.mark.parametrize("radius", [6, 12, 20])
def test_diameter_of_painted_discs(radius):
    shot = make_shot(plane, painted((30, 30), (30, 90), (75, 60), radius=radius))
    assert median_diameter(make_support_set([shot])) == pytest.approx(2 * radius, rel=0.05)


def test_diameter_of_a_stroke_is_its_length():
    labels = painted()
    labels[50:53, 40:70] = 2  # 30 px long, 3 px wide
    assert median_diameter(make_support_set([make_shot(plane, labels)])) == pytest.approx(34, rel=0.2)


def test_touching_cells_of_different_labels_are_two_objects():
    labels = painted()
    labels[40:60, 40:60], labels[40:60, 60:80] = 2, 3
    expected = np.sqrt(4 * 400 / np.pi)
    assert median_diameter(make_support_set([make_shot(plane, labels)])) == pytest.approx(expected, rel=0.02)


def test_slips_of_the_brush_do_not_count():
    labels = painted((50, 50), radius=15)
    labels[90, 10:110:4] = 3
    assert median_diameter(make_support_set([make_shot(plane, labels)])) == pytest.approx(30, rel=0.05)


def test_strokes_are_told_from_cells_painted_in_their_shape():
    labels = painted((50, 30))
    assert not make_shot(plane, labels).stroked
    labels[40:44, 60:100] = 3
    assert not make_shot(plane, labels).stroked  # one of two
    labels[60:64, 60:100] = 4
    assert make_shot(plane, labels).stroked
    labels[labels == 1] = 0
    assert not make_shot(plane, labels, whole_image=True).stroked  # long cells, each in its shape
