"""The library dialog in a real viewer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QFileDialog, QInputDialog, QLineEdit, QMessageBox

from napari_fewshot_cells.models.export import FORMATS, ExportFormat
from napari_fewshot_cells.models.library import library_dir, load_model, save_model
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.plugin.dialogs import library_dialog
from napari_fewshot_cells.plugin.session.messages import DONE, ERROR

from ..conftest import PATIENCE


@pytest.fixture
def scored(own_home: object) -> Model:
    card = ModelCard(
        "ready", "fcrn", diameter=28.0, k_shot=2, shots=("a.tif", "b.tif"), parent="unet", notes="nuclei",
        score="finds 9 of 10", date="2026-11-24T01:02:03",
    )  # fmt: skip
    model = Model(card, build_network("fcrn", seed=0))
    save_model(model)
    return model


@pytest.fixture
def open_dialog(open_panel: Any, qtbot: Any) -> Callable[[], Any]:
    def open_one() -> Any:
        _, panel = open_panel()
        panel.predict_box.library_button.click()
        dialog = panel.predict_box.library_dialog
        settle(qtbot, dialog)
        return panel, dialog

    return open_one


def settle(qtbot: Any, dialog: Any) -> None:
    qtbot.waitUntil(lambda: bool(dialog.table.rows) and dialog.import_button.isEnabled(), timeout=PATIENCE)


def texts(dialog: Any, name: str) -> list[str]:
    table = dialog.table
    (row,) = [n for n in range(table.rowCount()) if table.item(n, 0).text() == name]
    return [table.item(row, column).text() for column in range(table.columnCount())]


def names(dialog: Any) -> list[str]:
    return [dialog.table.item(n, 0).text() for n in range(dialog.table.rowCount())]


def answer(qtbot: Any, kind: type, act: Callable[[Any], None]) -> None:
    """Act on the next question that opens."""

    def look() -> None:
        asked = QApplication.activeModalWidget()
        if isinstance(asked, kind):
            act(asked)
        else:
            QTimer.singleShot(50, look)

    QTimer.singleShot(50, look)


@pytest.mark.both_bindings
def test_shows_what_is_known_of_each_model(open_dialog: Any, scored: Model) -> None:
    _, dialog = open_dialog()
    assert dialog.isVisible()
    assert names(dialog) == ["half-unet", "fcrn", "unet", "ready"]
    assert texts(dialog, "ready") == ["ready", "unet", "2", "finds 9 of 10", "2026-11-24", "nuclei"]
    assert texts(dialog, "fcrn")[1] == "came with the package"
    assert str(library_dir()) in dialog.place.text()
    for button in (dialog.rename_button, dialog.note_button, dialog.delete_button, dialog.export_button):
        assert not button.isEnabled()
        assert "Choose a model" in button.toolTip()


def test_bundled_models_cannot_be_changed_and_the_buttons_say_why(open_dialog: Any, scored: Model) -> None:
    _, dialog = open_dialog()
    dialog.table.choose("unet")
    for button, done in (
        (dialog.rename_button, "renamed"),
        (dialog.note_button, "edited"),
        (dialog.delete_button, "deleted"),
    ):
        assert not button.isEnabled()
        assert button.toolTip() == f"'unet' came with the package and cannot be {done}."
    assert dialog.export_button.isEnabled()
    dialog.table.choose("ready")
    assert dialog.delete_button.isEnabled()


def test_rename_by_the_button(qtbot: Any, open_dialog: Any, scored: Model) -> None:
    panel, dialog = open_dialog()
    assert panel.session.model.name == "ready"
    dialog.table.choose("ready")

    def type_name(asked: Any) -> None:
        asked.setTextValue("nuclei of mice")
        asked.accept()

    answer(qtbot, QInputDialog, type_name)
    dialog.rename_button.click()
    settle(qtbot, dialog)
    assert names(dialog) == ["half-unet", "fcrn", "unet", "nuclei of mice"]
    assert dialog.table.chosen.entry.name == "nuclei of mice"
    assert load_model("nuclei of mice").card.notes == "nuclei"
    assert sorted(file.name for file in library_dir().iterdir()) == [
        "nuclei of mice.json",
        "nuclei of mice.safetensors",
    ]
    # the panel keeps using the model
    assert panel.session.model.name == "nuclei of mice"
    assert panel.predict_box.model_choice.currentText() == "nuclei of mice"


def test_a_name_that_cannot_be_is_refused(qtbot: Any, open_dialog: Any, scored: Model) -> None:
    panel, dialog = open_dialog()
    for name, words in (("a/b", "cannot name a model"), ("fcrn", "bundled")):
        dialog.rename("ready", name)
        settle(qtbot, dialog)
        assert dialog.message_bar.kind == ERROR
        assert words in dialog.message_bar.text
    assert panel.session.model.name == "ready"


def test_note_by_the_button(qtbot: Any, open_dialog: Any, scored: Model) -> None:
    _, dialog = open_dialog()
    dialog.table.choose("ready")

    def type_note(asked: Any) -> None:
        assert asked.textValue() == "nuclei"
        asked.setTextValue("nuclei, 20×")
        asked.accept()

    answer(qtbot, QInputDialog, type_note)
    dialog.note_button.click()
    settle(qtbot, dialog)
    assert texts(dialog, "ready")[-1] == "nuclei, 20×"
    assert load_model("ready").card.notes == "nuclei, 20×"


@pytest.mark.parametrize("agreed", [False, True])
def test_delete_is_asked_first(qtbot: Any, open_dialog: Any, scored: Model, agreed: bool) -> None:
    panel, dialog = open_dialog()
    dialog.table.choose("ready")
    button = QMessageBox.StandardButton.Yes if agreed else QMessageBox.StandardButton.No

    def press(asked: Any) -> None:
        assert "'ready'" in asked.text()
        asked.button(button).click()

    answer(qtbot, QMessageBox, press)
    dialog.delete_button.click()
    settle(qtbot, dialog)
    assert ("ready" in names(dialog)) != agreed
    assert (panel.session.model is None) == agreed
    assert panel.predict_box.batch_button.isEnabled() != agreed


def test_export_by_the_button_and_import(qtbot: Any, open_dialog: Any, scored: Model, tmp_path: Path) -> None:
    _, dialog = open_dialog()
    dialog.table.choose("ready")

    def choose_file(asked: Any) -> None:
        asked.selectNameFilter("ONNX (*.onnx)")
        asked.findChild(QLineEdit).setText(str(tmp_path / "model 03.10.22"))
        asked.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Save).click()

    answer(qtbot, QFileDialog, choose_file)
    dialog.export_button.click()
    settle(qtbot, dialog)
    assert dialog.message_bar.kind == DONE, dialog.message_bar.text
    assert (tmp_path / "model 03.10.22.onnx").stat().st_size > 1_000_000

    dialog.export_file("ready", tmp_path / "copy.safetensors")
    settle(qtbot, dialog)
    dialog.import_file(tmp_path / "copy.safetensors")
    settle(qtbot, dialog)
    assert names(dialog) == ["half-unet", "fcrn", "unet", "copy", "ready"]
    assert read_model(tmp_path / "copy.safetensors").card.score == "finds 9 of 10"
    dialog.import_file(tmp_path / "copy.safetensors")
    settle(qtbot, dialog)
    assert "library has a model 'copy'" in dialog.message_bar.text


def test_a_damaged_file_is_shown_and_can_be_deleted(qtbot: Any, open_dialog: Any, scored: Model) -> None:
    (library_dir() / "broken.safetensors").write_text("no weights")
    _, dialog = open_dialog()
    assert texts(dialog, "broken")[1] == "damaged"
    dialog.table.choose("broken")
    assert not dialog.rename_button.isEnabled()
    assert "broken.safetensors" in dialog.rename_button.toolTip()
    dialog.delete("broken")
    settle(qtbot, dialog)
    assert names(dialog) == ["half-unet", "fcrn", "unet", "ready"]


def test_an_unexpected_error_is_reported(
    qtbot: Any, open_dialog: Any, scored: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, dialog = open_dialog()

    def fault(*_: Any) -> str:
        raise RuntimeError("never thought of")

    monkeypatch.setattr("napari_fewshot_cells.plugin.dialogs.library_dialog.delete", fault)
    heard: list[Any] = []
    monkeypatch.setattr(
        "napari_fewshot_cells.plugin.widgets.message_bar.notification_manager.receive_error",
        lambda *args: heard.append(args),
    )
    dialog.delete("ready")
    settle(qtbot, dialog)
    assert "never thought of" in dialog.message_bar.text
    assert len(heard) == 1


def test_a_new_model_appears_and_the_panel_may_close(qtbot: Any, open_dialog: Any, scored: Model) -> None:
    panel, dialog = open_dialog()
    entry = save_model(scored, "another")
    panel.session.adopt(entry)
    qtbot.waitUntil(lambda: "another" in names(dialog), timeout=PATIENCE)
    settle(qtbot, dialog)
    dialog.reload()
    panel.close_session()
    assert not dialog.isVisible()


def test_the_dialog_offers_every_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, ".npz", ExportFormat("NumPy arrays", lambda model, file: None))
    assert list(library_dialog._filters()) == [
        "Model of this plugin (*.safetensors)",
        "ONNX (*.onnx)",
        "bioimage.io package (*.zip)",
        "NumPy arrays (*.npz)",
    ]
    assert library_dialog._with_suffix(Path("a.b"), "NumPy arrays (*.npz)") == Path("a.b.npz")
    assert library_dialog._with_suffix(Path("a.ONNX"), "NumPy arrays (*.npz)") == Path("a.ONNX")
