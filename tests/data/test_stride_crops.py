"""Stride crops: they cover the image, overlap by the stride, and hold enough foreground."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_fewshot_cells.data.crops import Sample
from napari_fewshot_cells.data.stride_crops import cut_batch, epoch_batches, stride_crops, stride_windows


def sample(shape, cells=(), weight=1.0):
    """A sample with foreground in the given windows."""
    target = np.zeros(shape, np.float32)
    for rows, columns in cells:
        target[rows, columns] = 1
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Sample(image, target, np.full(shape, weight, np.float32))


def test_windows_at_the_stride_and_the_last_flush_with_the_border():
    windows = stride_windows(sample((10, 13)), 6, 4, 0)
    assert sorted({rows.start for rows, _ in windows}) == [0, 4]
    assert sorted({columns.start for _, columns in windows}) == [0, 4, 7]
    assert len(windows) == 6


def test_a_side_that_fits_the_stride_has_no_window_twice():
    assert [columns.start for _, columns in stride_windows(sample((6, 14)), 6, 4, 0)] == [0, 4, 8]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.data())
def test_every_pixel_is_in_a_window_where_the_stride_is_no_larger_than_it(height, width, size, data):
    stride = data.draw(st.integers(1, size))
    seen = np.zeros((height, width), int)
    windows = stride_windows(sample((height, width)), size, stride, 0)
    for window in windows:
        seen[window] += 1
        assert seen[window].shape == (min(size, height), min(size, width))
    assert seen.min() >= 1
    assert len({(rows.start, columns.start) for rows, columns in windows}) == len(windows)


def test_windows_with_too_little_foreground_are_dropped():
    cell = sample((8, 16), [np.s_[0:3, 0:3]])  # 9 px in the first window, 0 in the others
    assert stride_windows(cell, 8, 4, 9) == [np.s_[0:8, 0:8]]
    assert len(stride_windows(cell, 8, 4, 0)) == 3


def test_the_fullest_stays_where_none_is_full_enough():
    cells = sample((8, 16), [np.s_[0:2, 0:2], np.s_[0:3, 12:15]])
    assert stride_windows(cells, 8, 8, 100) == [np.s_[0:8, 8:16]]


def test_only_annotated_foreground_counts():
    cells = sample((8, 16), [np.s_[0:4, 0:4], np.s_[0:2, 12:14]])
    cells.weight[:, :8] = 0
    assert stride_windows(cells, 8, 8, 1) == [np.s_[0:8, 8:16]]


def test_an_image_smaller_than_a_crop_is_one_window_and_mirrored():
    small = sample((5, 20), [np.s_[0:2, 0:2]])
    assert [rows for rows, _ in stride_windows(small, 8, 6, 0)] == [slice(0, 5)] * 3
    batch = cut_batch(stride_crops([small], 8, 6, 0), 8)
    assert batch.image.shape == (3, 1, 8, 8)
    assert batch.weight[:, :, :5].eq(1).all()
    assert batch.weight[:, :, 5:].eq(0).all()
    assert batch.image[0, 0, 5].equal(batch.image[0, 0, 4])


def test_crops_are_the_windows_of_every_sample():
    samples = [sample((8, 12)), sample((9, 8))]
    crops = stride_crops(samples, 8, 4, 0)
    assert [(crop.sample is samples[1], crop.corner) for crop in crops] == [
        (False, (0, 0)),
        (False, (0, 4)),
        (True, (0, 0)),
        (True, (1, 0)),
    ]
    np.testing.assert_array_equal(cut_batch(crops[3:], 8).image[0, 0], samples[1].image[1:9, :8])


@pytest.mark.parametrize(("n_crops", "sizes"), [(7, [3, 3, 1]), (6, [3, 3]), (2, [2])])
def test_an_epoch_sees_every_crop_once(n_crops, sizes):
    batches = list(epoch_batches(n_crops, 3, np.random.default_rng(0)))
    assert [len(batch) for batch in batches] == sizes
    assert sorted(np.concatenate(batches)) == list(range(n_crops))
