"""The library dialog: rename, note, delete, import and export models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import Slot
from qtpy.QtWidgets import (
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QLineEdit,
    QMessageBox,
    QVBoxLayout,
    QWidget,
)

from ...models.export import FORMATS
from ..jobs.library_job import LibraryRead, delete, export_file, import_file, library_job, note, rename
from ..jobs.worker import Failed, Outcome, Refused, Runner
from ..session.messages import DONE, ERROR, INFO
from ..session.session import Session
from ..widgets.controls import dialog_button, hint, set_enabled
from ..widgets.file_dialogs import ask_file, save_dialog
from ..widgets.message_bar import MessageBar, report_fault
from .library_table import LibraryTable


class LibraryDialog(QDialog):
    """A table of all models, and buttons that act on the selected one."""

    def __init__(self, session: Session, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Models")
        self.resize(860, 380)
        self._session, self._runner = session, runner
        self._busy = self._again = False
        self.table = LibraryTable()
        self.table.itemSelectionChanged.connect(self._enable)
        self.rename_button = dialog_button("Rename…", self._ask_rename)
        self.note_button = dialog_button("Note…", self._ask_note)
        self.export_button = dialog_button("Export…", self._ask_export)
        self.delete_button = dialog_button("Delete…", self._ask_delete)
        self.import_button = dialog_button("Import…", self._ask_import)
        self.close_button = dialog_button("Close", self.close)
        self.close_button.setToolTip("Close this window; your models stay")
        self.place = hint()
        self.message_bar = MessageBar()
        buttons = QHBoxLayout()
        for button in (self.rename_button, self.note_button, self.export_button, self.delete_button):
            buttons.addWidget(button)
        buttons.addStretch(1)
        buttons.addWidget(self.import_button)
        buttons.addWidget(self.close_button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.place)
        layout.addLayout(buttons)
        layout.addWidget(self.message_bar)
        runner.happened.connect(self._on_read)
        runner.ended.connect(self._on_ended)
        session.any_of("models").connect(self.refresh)
        self._enable()

    # --- the table

    def refresh(self) -> None:
        """Read the library again if the panel and the table hold different models."""
        entries = tuple(row.entry for row in self.table.rows)
        if self.isVisible() and set(entries) != set(self._session.models):
            self.reload()

    def reload(self) -> None:
        """Read the library, now or after the job that runs."""
        if self._busy:
            self._again = True
        else:
            self._start(None)

    @Slot(object)
    def _on_read(self, read: LibraryRead) -> None:
        self.table.show_rows(read.rows, read.renamed)
        folder = next((row.entry.path.parent for row in read.rows if not row.entry.bundled), None)
        self.place.setText(
            f"Your models are in {folder}" if folder else "You have no models of your own yet."
        )
        if read.message:
            self.message_bar.say(DONE, read.message)
        self._session.set_models(tuple(row.entry for row in read.rows), read.renamed)

    @Slot(object)
    def _on_ended(self, outcome: Outcome) -> None:
        self._busy = False
        if isinstance(outcome, Refused):
            self.message_bar.say(ERROR, outcome.message)
        elif isinstance(outcome, Failed):
            report_fault(self.message_bar, outcome.error)
        self._enable()
        if self._again:
            self._again = False
            self._start(None)

    def _enable(self) -> None:
        row = self.table.chosen
        wait = "Wait a moment: the models are being read or written." if self._busy else None
        reason = wait or (None if row else "Choose a model in the table first.")
        fault = row.fault if row else ""
        for button, done, tip in (
            (self.rename_button, "renamed", "Give the model another name"),
            (self.note_button, "edited", "Write down what the model is for"),
            (self.delete_button, "deleted", "Delete the model's files, after asking"),
        ):
            fixed = f"'{row.entry.name}' came with the package and cannot be {done}." if row else None
            damaged = fault if button is not self.delete_button else ""
            set_enabled(button, reason or (fixed if row and row.entry.bundled else damaged) or None, tip)
        formats = "Write the model to a file: this plugin's own, ONNX, or a bioimage.io package"
        set_enabled(self.export_button, reason or fault or None, formats)
        set_enabled(self.import_button, wait, "Check a model file and copy it into your library")

    # --- actions

    def rename(self, name: str, new_name: str) -> None:
        """Give a model another name."""
        self._start(partial(rename, name, new_name), (name, new_name))

    def note(self, name: str, text: str) -> None:
        """Replace a model's note."""
        self._start(partial(note, name, text))

    def delete(self, name: str) -> None:
        """Delete a model without asking."""
        self._start(partial(delete, name))

    def import_file(self, file: Path) -> None:
        """Copy a model file into the library."""
        self._start(partial(import_file, file))

    def export_file(self, name: str, file: Path) -> None:
        """Write a model to a file, in the format of the file's suffix."""
        self._start(partial(export_file, name, file))

    def _start(self, act: Callable[[], str] | None, renamed: tuple[str, str] | None = None) -> None:
        self._busy = True
        if act is not None:
            self.message_bar.say(INFO, "")
        self._enable()
        self._runner.start(library_job, act, renamed)

    # --- questions

    def _ask_rename(self) -> None:
        row = self.table.chosen
        if row is None:
            return
        name = row.entry.name
        new_name, agreed = QInputDialog.getText(
            self, "Rename the model", "New name", QLineEdit.EchoMode.Normal, name
        )
        if agreed and new_name.strip() not in ("", name):
            self.rename(name, new_name.strip())

    def _ask_note(self) -> None:
        row = self.table.chosen
        if row is None or row.card is None:
            return
        text, agreed = QInputDialog.getMultiLineText(
            self, "Note", f"What '{row.entry.name}' is for", row.card.notes
        )
        if agreed and text != row.card.notes:
            self.note(row.entry.name, text)

    def _ask_delete(self) -> None:
        row = self.table.chosen
        if row is None:
            return
        name = row.entry.name
        question = f"Delete '{name}'? This cannot be undone."
        if QMessageBox.question(self, "Delete the model", question) == QMessageBox.StandardButton.Yes:
            self.delete(name)

    def _ask_import(self) -> None:
        file = ask_file(self._session, self, "Import a model", "Model (*.safetensors)")
        if file:
            self.import_file(file)

    def _ask_export(self) -> None:
        row = self.table.chosen
        if row is None:
            return
        name = row.entry.name
        dialog = save_dialog(self._session, self, "Export the model", name, ";;".join(_filters()))
        # export refuses an existing file, so Qt must not offer to overwrite it
        dialog.setOption(QFileDialog.Option.DontConfirmOverwrite)
        if dialog.exec():
            # not setDefaultSuffix: Qt mistakes the end of a date in the name for a suffix
            self.export_file(name, _with_suffix(Path(dialog.selectedFiles()[0]), dialog.selectedNameFilter()))


def _filters() -> dict[str, str]:
    """The suffix of each format, by the format's name in the file dialog."""
    return {f"{known.title} (*{suffix})": suffix for suffix, known in FORMATS.items()}


def _with_suffix(file: Path, chosen: str) -> Path:
    """The file with the suffix of the chosen format, unless it already has a known suffix."""
    return file if file.suffix.lower() in FORMATS else file.with_name(file.name + _filters()[chosen])
