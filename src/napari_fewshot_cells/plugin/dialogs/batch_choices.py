"""The choices of a batch: its images, the folder of its results, and what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui import magicgui
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...data.readers import READERS
from ..jobs.predictions import ObjectSettings
from ..session.session import Session
from ..widgets.controls import dialog_button, form, hint, set_enabled
from ..widgets.file_dialogs import ask_files, ask_folder

if TYPE_CHECKING:
    from ...prediction.predict_files import BatchSettings

_WAIT = "Wait until the batch is done, or press Cancel."
_MOST_NAMES = 20  # file names in a tooltip
_WRITTEN = {
    "probability": ("Probability", "Also write NAME_probability.tif, float32"),
    "measurements": ("Measurements", "Also write NAME_objects.csv: area, shape and intensity of each object"),
    # not remembered in the preferences: overwriting is chosen anew each time
    "overwrite": (
        "Overwrite existing results",
        "On: segment every image again. Off: skip images that have results",
    ),
}


class BatchChoices(QWidget):
    """The upper half of the batch dialog."""

    changed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        from ...prediction.predict_files import BatchSettings

        self._session = session
        self.inputs: tuple[Path, ...] = ()
        self.out: Path | None = None
        self.model_name, self.objects = QLabel(), hint()
        self.model_name.setToolTip("Chosen in the panel, under Predict")
        self.objects.setToolTip("Chosen in the panel, under Objects")
        self.inputs_line, self.out_line = QLineEdit(), QLineEdit()
        for line, text in ((self.inputs_line, "no images chosen yet"), (self.out_line, "none chosen yet")):
            line.setReadOnly(True)
            line.setPlaceholderText(text)
        self.folder_button = dialog_button("Folder…", self._ask_folder)
        self.files_button = dialog_button("Files…", self._ask_files)
        self.out_button = dialog_button("Folder…", self._ask_out)
        labels = QCheckBox("Labels")
        labels.setChecked(True)
        set_enabled(labels, "The labels, NAME.tif, int32, are always written.", "")
        options: dict[str, Any] = {name: {"bind": None} for name in ("threshold", "min_size", "max_hole")}
        options |= {name: {"text": text} for name, (text, _) in _WRITTEN.items()}
        self.written = magicgui(
            BatchSettings, layout="horizontal", labels=False, call_button=False, **options
        )
        self.written.margins = (0, 0, 0, 0)
        kept = session.preferences
        self.written.update(probability=kept.batch_probability, measurements=kept.batch_measurements)
        self.written.changed.connect(self._remember)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(
            form(
                ("Model", self.model_name),
                ("Images", side_by_side(self.inputs_line, self.folder_button, self.files_button)),
                ("Results in", side_by_side(self.out_line, self.out_button)),
                ("Write", side_by_side(labels, self.written.native)),
                ("Objects", self.objects),
            )
        )

    def settings(self, objects: ObjectSettings) -> BatchSettings:
        """The settings chosen here, with the panel's settings of objects."""
        chosen: BatchSettings = self.written(**asdict(objects))
        return chosen

    def reason_missing(self) -> str | None:
        """What must still be chosen before a batch can start, or None."""
        if not self.inputs:
            return "Choose a folder or files first."
        return None if self.out is not None else "Choose a folder for the results first."

    def choose_inputs(self, paths: Sequence[Path]) -> None:
        """Take files or a folder. Results go beside that folder, unless a folder was chosen for them."""
        self.inputs = tuple(paths)
        if self.inputs and self.out is None:
            folder = self.inputs[0] if self.inputs[0].is_dir() else self.inputs[0].parent
            self.out = folder.parent / f"{folder.name} cells"
        self.changed.emit()

    def choose_out(self, folder: Path) -> None:
        """Take a folder for the results; the batch creates it if it is missing."""
        self.out = folder
        self.changed.emit()

    def show_choices(self, model: str | None, objects: ObjectSettings, *, running: bool) -> None:
        """Show the choices made here and in the panel; disable those made here while a batch runs."""
        self.model_name.setText(model or "none chosen in the panel")
        least = "a tenth of a typical cell" if objects.min_size is None else f"{objects.min_size} px"
        holes = f", holes up to {objects.max_hole} px filled" if objects.max_hole else ""
        self.objects.setText(f"As in the panel: threshold {objects.threshold:g}, smallest {least}{holes}")
        self.inputs_line.setText("; ".join(map(str, self.inputs[:_MOST_NAMES])))
        self.inputs_line.setToolTip("\n".join(map(str, self.inputs[:_MOST_NAMES])) or "The images")
        self.out_line.setText("" if self.out is None else str(self.out))
        self.out_line.setToolTip(
            "The folder of the results: NAME.tif (int32 labels) for each image, and report.csv"
        )
        wait = _WAIT if running else None
        for widget, tip in (
            (
                self.folder_button,
                f"All images of a folder, without its sub-folders: {', '.join(READERS)}",
            ),
            (self.files_button, "Choose single images"),
            (self.out_button, "Choose where the results go"),
            *((self.written[name].native, tip) for name, (_, tip) in _WRITTEN.items()),
        ):
            set_enabled(widget, wait, tip)

    def _remember(self) -> None:
        written = self.written
        self._session.prefer(
            batch_probability=written.probability.value, batch_measurements=written.measurements.value
        )

    def _ask_folder(self) -> None:
        folder = ask_folder(self._session, self, "Images")
        if folder:
            self.choose_inputs([folder])

    def _ask_files(self) -> None:
        files = ask_files(self._session, self, "Images")
        if files:
            self.choose_inputs(files)

    def _ask_out(self) -> None:
        folder = ask_folder(self._session, self, "Results")
        if folder:
            self.choose_out(folder)


def side_by_side(*widgets: QWidget) -> QWidget:
    """Widgets in a row. Buttons and check boxes keep their size; the others share the remaining width."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget, 0 if isinstance(widget, QPushButton | QCheckBox) else 1)
    return row
