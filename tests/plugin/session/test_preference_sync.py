"""Preferences in the real panel: kept from one window to the next, in the background."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from napari_fewshot_cells.base.errors import DataError
from napari_fewshot_cells.plugin.jobs.predictions import ObjectSettings
from napari_fewshot_cells.plugin.session import preference_sync
from napari_fewshot_cells.plugin.session.messages import WARNING
from napari_fewshot_cells.plugin.session.state import ALL_IMAGES, ALL_PLANES
from napari_fewshot_cells.plugin.widgets.file_dialogs import last_folder, note_folder
from napari_fewshot_cells.projects.preferences import (
    Preferences,
    preferences_file,
    read_preferences,
    write_preferences,
)

from ..conftest import PATIENCE


@pytest.mark.both_bindings
def test_what_was_chosen_is_there_in_the_next_window(
    open_panel: Any, qtbot: Any, disc_image: Any, fine_tuned: Any, tmp_path: Any
) -> None:
    viewer, panel = open_panel()
    viewer.add_image(disc_image[0], name="discs")
    assert not preferences_file().exists()  # no preference was set yet
    network = panel.finetune_box.start_choice
    network.activated.emit(network.findText("U-Net (slow)"))
    panel.finetune_box.preview_check.click()
    scope = panel.predict_box.scope_choice
    scope.activated.emit(scope.findText("all images"))
    panel.refiner.choose(ObjectSettings(threshold=0.8, min_size=40, max_hole=7))
    panel.finetune_box.options.heading.click()  # opens
    panel.objects_box.step.heading.click()  # closes
    panel.annotation_box.new_button.click()
    panel.session.annotation.layer.brush_size = 23
    panel.predict_box.batch_button.click()
    panel.predict_box.batch_dialog.choices.written.measurements.native.click()
    note_folder(panel.session, tmp_path)
    panel.close_session()

    kept = json.loads(preferences_file().read_text("utf-8"))
    assert kept["network"] == "unet"
    assert read_preferences() == (
        Preferences(
            "unet", False, ALL_IMAGES, 40, 7, 23.0, str(tmp_path),
            batch_measurements=True, collapsed=("Objects",),
        ),
        "",
    )  # fmt: skip

    from napari_fewshot_cells.plugin.panel.panel import FewShotWidget

    viewer.layers.clear()
    again = FewShotWidget(viewer)
    viewer.window.add_dock_widget(again, name="again")
    qtbot.waitUntil(lambda: not again.session.loading, timeout=PATIENCE)
    assert again.finetune_box.start_choice.currentText() == "U-Net (slow)"
    assert not again.finetune_box.preview_check.isChecked()
    viewer.add_image(disc_image[0], name="discs")
    assert again.predict_box.scope_choice.currentText() == "all images"
    assert again.refiner.settings == ObjectSettings(
        min_size=40, max_hole=7
    )  # the threshold belongs to the model
    assert again.finetune_box.options.isExpanded()
    assert not again.objects_box.step.isExpanded()
    again.annotation_box.new_button.click()
    assert again.session.annotation.layer.brush_size == 23
    assert last_folder(again.session) == str(tmp_path)
    again.session.choose(model=again.session.entry("ready"))
    again.predict_box.batch_button.click()
    assert again.predict_box.batch_dialog.choices.written.measurements.value
    assert not again.predict_box.batch_dialog.choices.written.probability.value
    again.close_session()


def test_a_dragged_slider_is_written_once_and_not_in_the_gui_thread(
    open_panel: Any, qtbot: Any, disc_image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threading import current_thread, main_thread

    written = []

    def slow(now: Preferences) -> None:
        written.append((now, current_thread()))
        time.sleep(0.2)

    viewer, panel = open_panel()
    viewer.add_image(disc_image[0], name="discs")
    panel.annotation_box.new_button.click()
    monkeypatch.setattr(preference_sync, "write_preferences", slow)
    for size in range(20, 40):
        panel.session.annotation.layer.brush_size = size
    assert written == []
    qtbot.waitUntil(lambda: panel.preference_sync._kept.brush_size == 39, timeout=PATIENCE)
    ((now, thread),) = written
    assert now.brush_size == 39
    assert thread is not main_thread()
    panel.session.annotation.layer.brush_size = 2  # the usual size on so small an image: no preference
    panel.close_session()
    assert written[-1][0].brush_size is None


def test_a_damaged_file_is_reported_and_set_aside(open_panel: Any) -> None:
    preferences_file().write_text("{")
    _, panel = open_panel()
    assert panel.message_bar.kind == WARNING
    assert "damaged" in panel.message_bar.text
    assert panel.session.preview
    assert not preferences_file().exists()


def test_a_folder_that_cannot_be_written_is_reported_once(
    open_panel: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def full(now: Preferences) -> None:
        tried.append(now)
        raise DataError("Your settings are not kept: no space left.")

    _, panel = open_panel()
    monkeypatch.setattr(preference_sync, "write_preferences", full)
    panel.session.choose(preview=False)
    qtbot.waitUntil(lambda: "not kept" in panel.message_bar.text, timeout=PATIENCE)
    assert panel.message_bar.kind == WARNING
    panel.message_bar.say(WARNING, "")
    panel.session.choose(scope=ALL_IMAGES)
    qtbot.waitUntil(lambda: len(tried) == 2, timeout=PATIENCE)
    qtbot.wait(100)
    assert panel.message_bar.text == ""


def test_all_planes_of_a_plane_is_that_plane(open_panel: Any, disc_image: Any) -> None:
    write_preferences(Preferences(scope=ALL_PLANES))
    viewer, panel = open_panel()
    viewer.add_image(disc_image[0], name="discs")
    assert panel.predict_box.scope_choice.currentText() == "this image"
