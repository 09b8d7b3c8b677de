"""The table of measurements."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from napari_fewshot_cells.prediction.measurements import PixelSize, measure


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.zeros((30, 40), np.int32)
    labels[2:12, 3:8], labels[20:24, 30:34] = 1, 2
    return labels


def test_in_pixels(labels):
    table = measure(labels, labels * 10.0)
    assert table["index"].tolist() == [1, 2]
    assert table["area"].tolist() == [50, 16]
    assert table["centroid-0"].tolist() == [6.5, 21.5]
    assert table["centroid-1"].tolist() == [5, 31.5]
    assert table["mean intensity"].tolist() == [10, 20]
    assert table["solidity"].tolist() == [1, 1]
    assert table["eccentricity"][1] == pytest.approx(0)
    assert table["major axis"][0] > table["minor axis"][0]
    assert table["perimeter"][1] == pytest.approx(12)


def test_in_micrometres(labels):
    table, pixels = measure(labels, labels, PixelSize(0.5, 0.5, "µm")), measure(labels, labels)
    np.testing.assert_allclose(table["area (µm²)"], pixels["area"] / 4)
    for name in ("centroid-0", "centroid-1", "major axis", "minor axis", "perimeter"):
        np.testing.assert_allclose(table[f"{name} (µm)"], pixels[name] / 2)
    np.testing.assert_allclose(table["eccentricity"], pixels["eccentricity"])
    assert "area" not in table


def test_oblong_pixels_have_no_perimeter(labels):
    table = measure(labels, labels, PixelSize(2, 0.5, "µm"))
    assert table["area (µm²)"].tolist() == [50, 16]
    assert table["centroid-0 (µm)"][0] == 13
    assert table["centroid-1 (µm)"][0] == 2.5
    assert not any("perimeter" in name for name in table)


def test_no_object_gives_an_empty_table_with_the_same_columns(labels):
    empty = measure(np.zeros_like(labels), labels)
    assert list(empty) == list(measure(labels, labels))
    assert all(len(values) == 0 for values in empty.values())


def test_specks_of_one_pixel(labels):
    speck = np.zeros_like(labels)
    speck[4, 4] = 1
    table = measure(speck, labels)
    assert table["area"].tolist() == [1]
    assert all(np.isfinite(values).all() for values in table.values())


def test_other_threads_get_their_turn_while_many_objects_are_measured():
    labels = np.zeros((400, 400), np.int32)
    labels[1::8, 1::8] = labels[2::8, 1::8] = labels[1::8, 2::8] = np.arange(1, 2501).reshape(50, 50)
    beats, done = [], threading.Event()

    def beat() -> None:
        while not done.wait(0.001):
            beats.append(time.perf_counter())

    listener = threading.Thread(target=beat)
    listener.start()
    begun = time.perf_counter()
    try:
        measure(labels, labels)
    finally:
        seconds = time.perf_counter() - begun
        done.set()
        listener.join()
    assert len(beats) > 2500 / 16 / 2, f"{len(beats)} turns in {seconds:.1f} s"
