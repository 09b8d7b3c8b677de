"""Prediction of a folder from the panel, in a real viewer. A fake network takes bright pixels for cells."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QTimer
from skimage import io

from napari_fewshot_cells.base.progress import Progress
from napari_fewshot_cells.models.library import save_model
from napari_fewshot_cells.plugin.jobs.batch_job import batch_job
from napari_fewshot_cells.plugin.jobs.predictions import ObjectSettings
from napari_fewshot_cells.plugin.session.messages import DONE, ERROR, INFO, WARNING
from napari_fewshot_cells.prediction import predict_files as predict_files_module
from napari_fewshot_cells.prediction.predict_files import BatchSettings, FileReport
from napari_fewshot_cells.prediction.probability import CellMaps

from ..conftest import PATIENCE


@pytest.fixture
def folder(tmp_path: Path, disc_image: Any) -> Path:
    folder = tmp_path / "plate"
    folder.mkdir()
    pixels = (disc_image[1] > 0).astype(np.uint8) * 200
    for name in ("a.tif", "c.tif", "d.tif"):
        tifffile.imwrite(folder / name, pixels)
    (folder / "b.png").write_bytes(b"damaged")
    return folder


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Take bright pixels for cells, in ten steps of ``pace["step"]`` seconds each."""
    pace = {"step": 0.0}

    def predicted(_: Any, plane: Any, **__: Any) -> Any:
        for step in range(10):
            yield Progress("predicting", step, 10, 0.0)
            time.sleep(pace["step"])
        return CellMaps(np.where(plane.pixels > 100, np.float32(0.9), np.float32(0.1)))

    monkeypatch.setattr(predict_files_module, "cell_steps", predicted)
    return pace


@pytest.fixture
def open_dialog(open_panel: Any, fine_tuned: Any) -> Callable[[], Any]:
    def open_one() -> Any:
        viewer, panel = open_panel()
        viewer.add_image(np.eye(64), name="another")
        assert panel.predict_box.batch_button.isEnabled(), panel.predict_box.batch_button.toolTip()
        panel.predict_box.batch_button.click()
        return panel, panel.predict_box.batch_dialog

    return open_one


def wait_done(qtbot: Any, panel: Any) -> None:
    qtbot.waitUntil(lambda: not panel.session.busy, timeout=PATIENCE)


def column(dialog: Any, number: int) -> list[str]:
    table = dialog.table
    return [table.data(table.index(row, number)) for row in range(table.rowCount())]


@pytest.mark.both_bindings
def test_a_folder_with_a_bad_file(qtbot: Any, open_dialog: Any, folder: Path, pace: Any) -> None:
    panel, dialog = open_dialog()
    assert dialog.isVisible()
    assert not dialog.start_button.isEnabled()
    assert "Choose a folder" in dialog.start_button.toolTip()
    assert not dialog.choices.written.overwrite.value
    dialog.choices.choose_inputs([folder])
    out = folder.parent / "plate cells"  # the suggested folder, beside the images
    assert dialog.choices.out_line.text() == str(out)
    panel.refiner.choose(ObjectSettings(threshold=0.6, min_size=20))
    dialog.refresh()
    assert "threshold 0.6, smallest 20 px" in dialog.choices.objects.text()
    dialog.choices.written.probability.native.setChecked(True)
    dialog.choices.written.measurements.native.setChecked(True)
    dialog.start_button.click()
    assert "Wait until predicting a folder" in panel.predict_button.toolTip()
    assert not dialog.start_button.isEnabled()
    wait_done(qtbot, panel)

    assert column(dialog, 0) == ["a.tif", "b.png", "c.tif", "d.tif"]
    assert column(dialog, 1) == ["done", "skipped", "done", "done"]
    assert column(dialog, 2) == ["6", "", "6", "6"]
    assert "b.png" in column(dialog, 4)[1]
    assert dialog.message_bar.kind == WARNING
    assert "4 images: 3 done, 1 skipped" in dialog.message_bar.text
    assert sorted(file.name for file in out.iterdir())[:4] == [
        "a.tif", "a_objects.csv", "a_probability.tif", "c.tif"
    ]  # fmt: skip
    assert tifffile.imread(out / "d.tif").max() == 6
    rows = list(csv.DictReader((out / "report.csv").open(encoding="utf-8-sig")))
    assert [row["status"] for row in rows] == column(dialog, 1)
    assert panel.predict_box.batch_button.isEnabled()


def test_cancel_and_go_on(qtbot: Any, open_dialog: Any, folder: Path, pace: Any) -> None:
    panel, dialog = open_dialog()
    dialog.choices.choose_inputs([folder / name for name in ("a.tif", "c.tif", "d.tif")])
    pace["step"] = 0.05
    dialog.start_button.click()
    qtbot.waitUntil(lambda: len(dialog.table.reports) == 1, timeout=PATIENCE)
    dialog.cancel_button.click()
    assert "Stopping" in dialog.cancel_button.toolTip()
    wait_done(qtbot, panel)
    out = dialog.choices.out
    assert dialog.message_bar.kind == INFO
    assert "Cancelled" in dialog.message_bar.text
    assert column(dialog, 1) == ["done", "not done", "not done"]
    assert sorted(file.name for file in out.iterdir()) == ["a.tif", "report.csv"]
    rows = list(csv.DictReader((out / "report.csv").open(encoding="utf-8-sig")))
    assert [row["status"] for row in rows] == ["done"]

    (out / "a.tif").write_bytes(b"corrected by hand")
    pace["step"] = 0.0
    dialog.start_button.click()
    wait_done(qtbot, panel)
    assert column(dialog, 1) == ["exists", "done", "done"]
    assert dialog.message_bar.kind == DONE
    assert (out / "a.tif").read_bytes() == b"corrected by hand"
    dialog.choices.written.overwrite.native.setChecked(True)
    dialog.start_button.click()
    wait_done(qtbot, panel)
    assert column(dialog, 1) == ["done", "done", "done"]
    assert tifffile.imread(out / "a.tif").max() == 6


@pytest.mark.usefixtures("full_collections")
def test_the_window_stays_alive(qtbot: Any, open_dialog: Any, folder: Path, pace: Any) -> None:
    panel, dialog = open_dialog()
    dialog.choices.choose_inputs([folder])
    pace["step"] = 0.02
    beats: list[float] = []
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start(10)
    dialog.start_button.click()
    wait_done(qtbot, panel)
    timer.stop()
    assert len(beats) > 20  # in at least 0.6 s, the event loop ran often enough


def test_closing_the_window_stops_the_batch(qtbot: Any, open_dialog: Any, folder: Path, pace: Any) -> None:
    panel, dialog = open_dialog()
    dialog.choices.choose_inputs([folder])
    pace["step"] = 0.05
    dialog.start_button.click()
    qtbot.waitUntil(lambda: dialog.table.rowCount() > 0, timeout=PATIENCE)
    dialog.close_button.click()
    assert not dialog.isVisible()
    wait_done(qtbot, panel)
    assert "not done" in column(dialog, 1)
    panel.predict_box.batch_button.click()
    assert panel.predict_box.batch_dialog is dialog
    assert dialog.start_button.isEnabled()


def test_the_panel_s_cancel_holds_too_and_closing_the_panel(
    qtbot: Any, open_dialog: Any, folder: Path, pace: Any
) -> None:
    panel, dialog = open_dialog()
    dialog.choices.choose_inputs([folder])
    pace["step"] = 0.05
    dialog.start_button.click()
    qtbot.waitUntil(lambda: dialog.table.rowCount() > 0, timeout=PATIENCE)
    panel.cancel_button.click()
    wait_done(qtbot, panel)
    assert "Cancelled" in dialog.message_bar.text
    dialog.start_button.click()
    qtbot.waitUntil(lambda: dialog.table.rowCount() > 0, timeout=PATIENCE)
    panel.close_session()
    assert not dialog.isVisible()
    files = sorted(file.name for file in dialog.choices.out.iterdir())
    qtbot.wait(300)
    assert sorted(file.name for file in dialog.choices.out.iterdir()) == files


def test_what_cannot_be_done_is_reported(
    qtbot: Any, open_dialog: Any, folder: Path, pace: Any, tmp_path: Path
) -> None:
    panel, dialog = open_dialog()
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "report.csv").write_text("mine")
    (tmp_path / "file").write_text("")
    for inputs, out, words in (
        (tmp_path / "empty", tmp_path / "out", "holds no image"),
        (folder, folder, "choose another folder for the results"),
        (folder, tmp_path / "foreign", "no report of a batch"),
        (folder, tmp_path / "file", "cannot be written"),
    ):
        dialog.choices.choose_inputs([inputs])
        dialog.choices.choose_out(out)
        dialog.start_button.click()
        wait_done(qtbot, panel)
        assert dialog.message_bar.kind == ERROR
        assert words in dialog.message_bar.text
    assert (tmp_path / "foreign" / "report.csv").read_text() == "mine"


def test_without_a_model_the_button_says_what_to_do(open_panel: Any) -> None:
    _, panel = open_panel()
    button = panel.predict_box.batch_button
    assert not button.isEnabled()
    assert "Fine-tune first" in button.toolTip()


def test_real_prediction_as_on_the_command_line(
    qtbot: Any, open_dialog: Any, tmp_path: Path, disc_image: Any
) -> None:
    from napari_fewshot_cells.data.image_files import read_plane
    from napari_fewshot_cells.models.library import load_model
    from napari_fewshot_cells.prediction.instances import label_instances
    from napari_fewshot_cells.prediction.probability import predict

    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "x.png"
    io.imsave(file, (disc_image[1] > 0).astype(np.uint8) * 200, check_contrast=False)
    panel, dialog = open_dialog()
    dialog.choices.choose_inputs([file])
    dialog.choices.choose_out(tmp_path / "out")
    dialog.start_button.click()
    wait_done(qtbot, panel)
    model = load_model("ready")
    wanted = label_instances(predict(model, read_plane(file)), diameter=model.card.diameter)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "x.tif"), wanted)


def test_touching_cells_are_cut_at_their_contact(touching_cells: Any, tmp_path: Path, own_home: Any) -> None:
    image, model = touching_cells
    (tmp_path / "plate").mkdir()
    tifffile.imwrite(tmp_path / "plate" / "two.tif", image)
    by_shape = replace(model.card, contact_logit=None)
    for name, card, cells in (("contact", model.card, 2), ("shape", by_shape, 1)):
        entry = save_model(replace(model, card=card), name)
        *_, row = batch_job(entry, [tmp_path / "plate"], tmp_path / name, BatchSettings())
        assert isinstance(row, FileReport)
        assert row.objects == tifffile.imread(tmp_path / name / "two.tif").max() == cells
