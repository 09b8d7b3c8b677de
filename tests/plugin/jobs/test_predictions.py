"""Predictions in memory, and the table and file of measurements; without a window."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from napari.layers import Image
from qtpy.QtCore import Qt

from napari_fewshot_cells.base.errors import DataError
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.models.library import save_model
from napari_fewshot_cells.plugin.jobs.model_jobs import predict_job, show_job
from napari_fewshot_cells.plugin.jobs.predictions import ObjectSettings, Prediction, Predictions, make_objects
from napari_fewshot_cells.plugin.layers.planes import pixel_size
from napari_fewshot_cells.plugin.widgets.objects_csv import file_name, save_csv
from napari_fewshot_cells.plugin.widgets.objects_model import ObjectsModel
from napari_fewshot_cells.prediction.instances import label_instances
from napari_fewshot_cells.prediction.measurements import PixelSize


def prediction(layer: Any = "image", plane: Any = (None, None), side: int = 8) -> Prediction:
    source: Any = SimpleNamespace(layer=layer, plane=plane)
    return Prediction(source, np.full((side, side), 0.7, np.float32), 10.0, {"model": "mine"})


chosen = st.builds(
    ObjectSettings,
    threshold=st.floats(0.05, 0.95),
    min_size=st.one_of(st.none(), st.integers(0, 20)),
    max_hole=st.integers(0, 20),
)


@settings(deadline=None, max_examples=40)
@given(
    probability=hnp.arrays(np.float32, (20, 24), elements=st.floats(0, 1, width=32)),
    contact=st.none() | hnp.arrays(np.float16, (20, 24), elements=st.floats(0, 1, width=16)),
    moves=st.lists(chosen, min_size=1, max_size=4),
)
def test_sliders_give_what_the_command_line_gives(
    probability: np.ndarray, contact: np.ndarray | None, moves: Any
) -> None:
    one = Prediction(prediction().source, probability, 6.0, {}, contact)
    maps = None if contact is None else contact.astype(np.float32)
    parts = None
    for move in moves:
        result, parts = make_objects(one, move, parts)
        options = {"threshold": move.threshold, "min_size": move.min_size, "max_hole": move.max_hole}
        wanted = label_instances(probability, contact=maps, diameter=6.0, **options)
        np.testing.assert_array_equal(result.labels, wanted)
        assert result.table["index"].tolist() == list(range(1, result.labels.max() + 1))


def test_what_a_slider_does_not_change_is_not_computed_again() -> None:
    one = prediction()
    _, parts = make_objects(one, ObjectSettings())
    assert make_objects(one, ObjectSettings(min_size=5), parts)[1] is parts
    assert make_objects(one, ObjectSettings(max_hole=5), parts)[1] is parts
    assert make_objects(one, ObjectSettings(threshold=0.8), parts)[1] is not parts


def test_a_split_is_reused_only_with_the_same_contacts() -> None:
    line = np.zeros((40, 90), np.float16)
    line[:, 43:47] = 1
    whole = Prediction(prediction().source, np.full(line.shape, 0.7, np.float32), 20.0, {"model": "mine"})
    cut = replace(whole, contact=line)
    one, parts = make_objects(whole, ObjectSettings())
    two, cut_parts = make_objects(cut, ObjectSettings(), parts)
    assert (one.labels.max(), two.labels.max()) == (1, 2)
    assert (one.provenance["separation"], two.provenance["separation"]) == ("shape", "contact")
    assert make_objects(cut, ObjectSettings(min_size=5), cut_parts)[1] is cut_parts
    renamed = replace(cut, provenance={"model": "yours"})
    assert make_objects(renamed, ObjectSettings(), cut_parts)[1] is cut_parts
    assert make_objects(whole, ObjectSettings(), cut_parts)[0].labels.max() == 1
    assert make_objects(replace(cut, contact=0 * line), ObjectSettings(), cut_parts)[0].labels.max() == 1


def test_a_model_shown_again_cuts_at_its_contacts(touching_cells: Any) -> None:
    image, model = touching_cells
    entry = save_model(model)
    plane = to_plane(image, "two")
    source: Any = SimpleNamespace(
        layer="two", plane=(None, None), channels=None, pixel=PixelSize(), read=lambda: plane
    )
    *_, kept, made = predict_job(entry, [source], ObjectSettings(), stop_at_bad_image=True)
    assert isinstance(kept, Prediction)
    assert kept.contact is not None
    assert kept.contact.dtype == np.float16
    *_, shown = show_job(entry, [kept], [], ObjectSettings(0.6))
    assert made.labels.max() == shown.labels.max() == 2


def test_provenance_has_the_numbers_used() -> None:
    result, _ = make_objects(prediction(), ObjectSettings(0.6))
    expected = {"model": "mine", "separation": "shape", "threshold": 0.6, "min_size": 8, "max_hole": 0}
    assert result.provenance == expected


def test_memory_is_bounded_and_the_oldest_is_dropped_first() -> None:
    kept = Predictions(most_bytes=3 * 8 * 8 * 4 * 2)
    planes = [prediction(plane=(number, None, None)) for number in range(5)]
    for plane in planes:
        kept.keep(plane)
    assert list(kept) == planes[2:]
    assert kept.of("image", (0, None, None)) is None
    kept.keep(again := prediction(plane=(2, None, None)))
    assert list(kept) == [planes[3], planes[4], again]
    kept.keep(large := prediction("other", side=100))  # a single one is always kept
    assert list(kept) == [large]
    kept.forget("other")
    assert list(kept) == []


def test_contacts_count_as_memory() -> None:
    one = prediction()
    assert one.nbytes == 8 * 8 * 4
    with_contacts = [
        replace(prediction(plane=(number, None, None)), contact=np.zeros((8, 8), np.float16))
        for number in range(3)
    ]
    assert with_contacts[0].nbytes == 8 * 8 * (4 + 2)
    kept = Predictions(most_bytes=2 * 8 * 8 * (4 + 2 + 4))
    for each in with_contacts:
        kept.keep(each)
    assert list(kept) == with_contacts[1:]


def test_stale_and_unmeasured() -> None:
    kept, one = Predictions(), prediction()
    kept.keep(one)
    assert not kept.is_stale(one, ObjectSettings())  # no objects are on show yet
    result, _ = make_objects(one, ObjectSettings())
    kept.note(result)
    assert kept.is_unmeasured(one)
    assert not kept.is_stale(one, ObjectSettings())
    assert not kept.is_stale(one, ObjectSettings(min_size=8))  # 8 is also the default
    assert kept.is_stale(one, ObjectSettings(0.6))


@pytest.mark.parametrize(
    ("units", "scale", "expected"),
    [
        (None, (2, 3), PixelSize()),
        (("um", "um"), (0.5, 0.25), PixelSize(0.5, 0.25, "µm")),
        (("micron", "micron"), (0.5, 0.5), PixelSize(0.5, 0.5, "µm")),
        (("um", "nm"), (0.5, 500), PixelSize(0.5, 0.5, "µm")),
        (("s", "um"), (1, 1), PixelSize()),
    ],
)
def test_pixel_size(units: Any, scale: Any, expected: PixelSize) -> None:
    found = pixel_size(Image(np.zeros((9, 9)), units=units, scale=scale), (0, 1))
    assert found.unit == expected.unit
    assert (found.height, found.width) == pytest.approx((expected.height, expected.width))


# --- the table


TABLE = pd.DataFrame({"index": [1, 2, 3], "area (µm²)": [10.0, 2.5, 1e5], "plane-0": [0, 0, 1]})


def test_rows_sort_as_numbers_and_are_found_again(qapp: Any) -> None:
    model = ObjectsModel()
    model.show(TABLE)
    model.sort(1, Qt.SortOrder.AscendingOrder)
    assert [model.label(row) for row in range(3)] == [2, 1, 3]
    assert model.row_of(3) == 2
    assert model.row_of(9) is None
    assert model.place(2) == {"plane-0": 1}
    assert model.data(model.index(0, 1)) == "2.5"
    assert model.headerData(0, Qt.Orientation.Horizontal) == "object"
    model.show(TABLE[:2])
    assert [model.label(row) for row in range(2)] == [2, 1]  # the order stays the same
    model.show(None)
    assert (model.rowCount(), model.columnCount(), model.row_of(1)) == (0, 0, None)


def test_a_file_for_spreadsheets(tmp_path: Path) -> None:
    save_csv(TABLE, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes().startswith(b"\xef\xbb\xbfobject,")
    read = pd.read_csv(tmp_path / "table.csv")
    assert list(read) == ["object", "area (µm²)", "plane-0"]
    assert read["area (µm²)"].tolist() == [10.0, 2.5, 1e5]


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for path in (tmp_path / "missing" / "table.csv", tmp_path / "folder.csv"):
        with pytest.raises(DataError, match=r"cannot be written.*choose another"):
            save_csv(TABLE, path)
    assert os.listdir(tmp_path) == ["folder.csv"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table.csv").write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        save_csv(TABLE, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_suggested_name_is_fit_for_every_system() -> None:
    assert file_name("cells a/b: c?") == "cells a b c.csv"
