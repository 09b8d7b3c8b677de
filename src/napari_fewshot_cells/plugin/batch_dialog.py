"""A folder of images into a folder of results, with the panel's model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy.QtCore import Qt, Slot
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from ..progress import Progress
from .batch_jobs import FilesFound, batch_job
from .batch_table import BatchTable
from .controls import form, hint, set_enabled
from .message_bar import DONE, ERROR, INFO, WARNING, MessageBar
from .refiner import Refiner
from .session import BATCH, CANCELLING, Session
from .workers import Cancelled, Done, Failed, Outcome, Refused, Runner

_STEPS = 100  # of the bar, for each file


class BatchDialog(QDialog):
    """What goes in, where it goes, how far it is, and what became of each file."""

    def __init__(
        self, session: Session, refiner: Refiner, runner: Runner, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Predict a folder")
        self.resize(820, 560)
        self._session, self._refiner, self._runner = session, refiner, runner
        self._inputs: tuple[Path, ...] = ()
        self._out: Path | None = None
        self._running = False
        self._number = 0
        self.model_name, self.objects = QLabel(), hint()
        self.inputs_line, self.out_line = QLineEdit(), QLineEdit()
        self.folder_button = self._button("Folder…", self._ask_folder)
        self.files_button = self._button("Files…", self._ask_files)
        self.out_button = self._button("Folder…", self._ask_out)
        self.probability = QCheckBox("Probability")
        self.measurements = QCheckBox("Measurements")
        self.overwrite = QCheckBox("Overwrite results that are there")
        self.start_button = self._button("Start", self.start)
        self.cancel_button = self._button("Cancel", self.cancel)
        self.close_button = self._button("Close", self.close)
        self.progress = QProgressBar()
        self.progress.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.table = BatchTable(self)
        self.view = QTableView()
        self.message_bar = MessageBar()
        self._lay_out()
        self._explain()
        self._rest("Ready")
        runner.happened.connect(self._on_happened)
        runner.ended.connect(self._on_ended)
        self.refresh()

    def _button(self, text: str, act: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        button.setAutoDefault(False)
        button.clicked.connect(lambda: act())
        return button

    def _lay_out(self) -> None:
        for line, text in ((self.inputs_line, "no images chosen yet"), (self.out_line, "none chosen yet")):
            line.setReadOnly(True)
            line.setPlaceholderText(text)
        self.view.setModel(self.table)
        self.view.verticalHeader().hide()
        self.view.horizontalHeader().setStretchLastSection(True)
        for column, width in enumerate((230, 75, 70, 70)):
            self.view.setColumnWidth(column, width)
        layout = QVBoxLayout(self)
        layout.addLayout(
            form(
                ("Model", self.model_name),
                ("Images", _row(self.inputs_line, self.folder_button, self.files_button)),
                ("Results in", _row(self.out_line, self.out_button)),
                ("Beside labels", _row(self.probability, self.measurements, self.overwrite)),
                ("Objects", self.objects),
            )
        )
        layout.addWidget(_row(self.progress, self.start_button, self.cancel_button, self.close_button))
        layout.addWidget(self.view, 1)
        layout.addWidget(self.message_bar)

    def _explain(self) -> None:
        self.model_name.setToolTip("Chosen in the panel, under Predict")
        self.objects.setToolTip("Chosen in the panel, under Objects; no limit set there: a tenth of a typical cell")
        self.probability.setToolTip("Write NAME_probability.tif too, float32")
        self.measurements.setToolTip("Write NAME_objects.csv too: area, shape and intensity of each object, in pixels")
        self.overwrite.setToolTip(
            "Make results anew that are there already; otherwise they stay as they are and only the others are made"
        )
        self.close_button.setToolTip("Close this window; a batch that runs is cancelled")
        self.view.setToolTip("What became of each file; the same is in report.csv among the results")

    # --- what is chosen

    def refresh(self) -> None:
        """Follow the panel; a Cancel pressed there holds here too."""
        session, settings = self._session, self._refiner.settings
        if self._running and session.running == CANCELLING:
            self._runner.cancel()
        self.model_name.setText(session.model.name if session.model else "none chosen in the panel")
        least = "by the size of a cell" if settings.min_size is None else f"{settings.min_size} px"
        holes = f", holes up to {settings.max_hole} px filled" if settings.max_hole else ""
        self.objects.setText(f"As in the panel: threshold {settings.threshold:g}, smallest {least}{holes}")
        self.inputs_line.setText("; ".join(map(str, self._inputs)))
        self.inputs_line.setToolTip("\n".join(map(str, self._inputs[:20])) or "Choose a folder or files")
        self.out_line.setText("" if self._out is None else str(self._out))
        self.out_line.setToolTip("Where NAME.tif, int32 labels, and report.csv are written")
        wait = "Wait until the batch is done, or press Cancel." if self._running else None
        for widget, tip in (
            (self.folder_button, "All images of a folder: TIFF, PNG, JPEG, OME-Zarr; sub-folders are left out"),
            (self.files_button, "Choose single images"),
            (self.out_button, "Choose where the results go"),
        ):
            set_enabled(widget, wait, tip)
        for box in (self.probability, self.measurements, self.overwrite):
            box.setEnabled(not self._running)
        missing = None
        if not self._inputs:
            missing = "Choose a folder or files first."
        elif self._out is None:
            missing = "Choose a folder for the results first."
        set_enabled(
            self.start_button, wait or session.reason_batch_disabled() or missing, "Segment all of the images"
        )
        stop = None if self._running else "Nothing is running."
        if self._running and session.running == CANCELLING:
            stop = "Stopping after the step that is under way."
        set_enabled(self.cancel_button, stop, "Stop after the step that is under way; what is done stays")

    def choose_inputs(self, paths: Sequence[Path]) -> None:
        """Take files or a folder; results go beside the folder unless another place was chosen."""
        self._inputs = tuple(paths)
        if self._inputs and self._out is None:
            folder = self._inputs[0] if self._inputs[0].is_dir() else self._inputs[0].parent
            self._out = folder.parent / f"{folder.name} cells"
        self.refresh()

    def choose_out(self, folder: Path) -> None:
        """Take a folder for the results; it is made if it is missing."""
        self._out = folder
        self.refresh()

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Images")
        if folder:
            self.choose_inputs([Path(folder)])

    def _ask_files(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(self, "Images")
        if files:
            self.choose_inputs([Path(file) for file in files])

    def _ask_out(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Results")
        if folder:
            self.choose_out(Path(folder))

    # --- the batch

    def start(self) -> None:
        """Begin with the panel's model and settings."""
        from ..batch import BatchSettings

        chosen = self._refiner.settings
        settings = BatchSettings(
            probability=self.probability.isChecked(),
            measurements=self.measurements.isChecked(),
            overwrite=self.overwrite.isChecked(),
            threshold=chosen.threshold,
            min_size=chosen.min_size,
            max_hole=chosen.max_hole,
        )
        self._running = True
        self.table.begin(())
        self.message_bar.say(INFO, "")
        self._session.choose(running=BATCH)
        self._runner.start(batch_job, self._session.model, self._inputs, self._out, settings)

    def cancel(self) -> None:
        """Stop after the step that is under way."""
        self._session.choose(running=CANCELLING)

    def done(self, result: int) -> None:
        """As Qt's; a window that is closed stops its batch."""
        if self._running and not self._session.closed:
            self.cancel()
        super().done(result)

    @Slot(object)
    def _on_happened(self, event: object) -> None:
        from ..batch import FileBegun, FileReport

        if isinstance(event, FilesFound):
            self.table.begin(event.files)
            self.progress.setRange(0, _STEPS * len(event.files))
        elif isinstance(event, FileBegun):
            self._number = event.number - 1
            self.table.mark("predicting")
            self.view.scrollTo(self.table.index(self._number, 0))
            self.progress.setFormat(f"{event.number} of {event.total}")
            self.progress.setValue(_STEPS * self._number)
        elif isinstance(event, FileReport):
            self.table.add(event)
            self.progress.setValue(_STEPS * (self._number + 1))
        elif isinstance(event, Progress) and self.table.rowCount():
            self.progress.setValue(_STEPS * self._number + _STEPS * event.done // max(1, event.total))

    @Slot(object)
    def _on_ended(self, outcome: Outcome) -> None:
        self._running = False
        self.table.mark("not done")
        if isinstance(outcome, Done):
            self._rest("Done")
            good = all(row.status in ("done", "exists") for row in self.table.told)
            self.message_bar.say(DONE if good else WARNING, self._summary())
        elif isinstance(outcome, Cancelled):
            self._rest("Cancelled")
            self.message_bar.say(INFO, f"Cancelled. {self._summary()} Start again to go on where it was.")
        elif isinstance(outcome, Refused):
            self._rest("Ready")
            self.message_bar.say(ERROR, outcome.message)
        elif isinstance(outcome, Failed):
            self._rest("Stopped by a fault")
            error = outcome.error
            self.message_bar.say(ERROR, f"Unexpected error: {type(error).__name__}: {error}. {self._summary()}")
        self._session.choose(running=None)

    def _rest(self, text: str) -> None:
        self.progress.setRange(0, 1)
        self.progress.setValue(0)
        self.progress.setFormat(text)

    def _summary(self) -> str:
        counts = Counter(row.status for row in self.table.told)
        parts = ", ".join(f"{count} {status}" for status, count in counts.items()) or "nothing done"
        return f"{self.table.rowCount()} images: {parts}. See report.csv in '{self._out}'."


def _row(*widgets: QWidget) -> QWidget:
    """Widgets side by side, the first one as wide as there is room."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for number, widget in enumerate(widgets):
        layout.addWidget(widget, 0 if number or isinstance(widget, QCheckBox) else 1)
    if isinstance(widgets[0], QCheckBox):
        layout.addStretch(1)
    return row
