"""Contact zones and touching cells, against a plain loop over pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_fewshot_cells.data.contacts import contact_zone, touching_cells


def zone_by_loop(labels: np.ndarray, radius: float) -> np.ndarray:
    zone = np.zeros(labels.shape, bool)
    cells = np.argwhere(labels > 0)
    for pixel in np.ndindex(*labels.shape):
        near = cells[np.hypot(*(cells - pixel).T) <= radius] if len(cells) else cells
        zone[pixel] = len({int(labels[tuple(p)]) for p in near}) > 1
    return zone


@given(arrays(np.int32, (7, 9), elements=st.integers(0, 3)), st.sampled_from([1.0, 1.5, 2.3]))
def test_the_zone_is_near_two_cells(labels: np.ndarray, radius: float) -> None:
    np.testing.assert_array_equal(contact_zone(labels, radius), zone_by_loop(labels, radius))


@pytest.mark.parametrize(("gap", "expected"), [(0, [5, 9]), (1, [])])
def test_cells_touch_by_edges_and_corners(gap: int, expected: list[int]) -> None:
    labels = np.zeros((8, 8), np.int32)
    labels[1:4, 1:4] = 5
    labels[4 + gap :, 4 + gap :] = 9
    assert touching_cells(labels).tolist() == expected


def test_one_cell_alone_touches_nothing() -> None:
    labels = np.zeros((6, 6), np.int32)
    assert touching_cells(labels).size == 0
    labels[2:4, 2:4] = 7
    assert touching_cells(labels).size == 0
