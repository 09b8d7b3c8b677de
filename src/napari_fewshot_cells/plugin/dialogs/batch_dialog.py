"""The batch dialog: segments a folder of images with the panel's model."""

from __future__ import annotations

from collections import Counter

from qtpy.QtCore import Qt, Slot
from qtpy.QtWidgets import QDialog, QProgressBar, QTableView, QVBoxLayout, QWidget

from ...base.progress import Progress
from ..jobs.batch_job import FilesFound, batch_job
from ..jobs.worker import Cancelled, Done, Failed, Outcome, Refused, Runner
from ..session.disabled_reasons import reason_batch_disabled
from ..session.messages import DONE, ERROR, INFO, WARNING
from ..session.object_refiner import Refiner
from ..session.session import BATCH, CANCELLING, Session
from ..widgets.controls import dialog_button, set_enabled
from ..widgets.message_bar import MessageBar, report_fault
from .batch_choices import BatchChoices, side_by_side
from .batch_table import BatchTable

_STEPS = 100  # steps of the progress bar for each file


class BatchDialog(QDialog):
    """The choices of a batch, its progress, and the result for each file."""

    def __init__(
        self, session: Session, refiner: Refiner, runner: Runner, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Predict a folder")
        self.resize(820, 560)
        self._session, self._refiner, self._runner = session, refiner, runner
        self._running = False
        self._number = 0
        self.choices = BatchChoices(session)
        self.choices.changed.connect(self.refresh)
        self.start_button = dialog_button("Start", self.start)
        self.cancel_button = dialog_button("Cancel", self.cancel)
        self.close_button = dialog_button("Close", self.close)
        self.close_button.setToolTip("Close this window and cancel a running batch")
        self.progress = QProgressBar()
        self.progress.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.table = BatchTable(session, self)
        self.message_bar = MessageBar()
        view = self._view = QTableView()
        view.setModel(self.table)
        view.setToolTip("The result for each file, as in report.csv beside the results")
        view.verticalHeader().hide()
        view.horizontalHeader().setStretchLastSection(True)
        for column, width in enumerate((230, 75, 70, 70)):
            view.setColumnWidth(column, width)
        layout = QVBoxLayout(self)
        layout.addWidget(self.choices)
        layout.addWidget(
            side_by_side(self.progress, self.start_button, self.cancel_button, self.close_button)
        )
        layout.addWidget(view, 1)
        layout.addWidget(self.message_bar)
        self._show_idle("Ready")
        runner.happened.connect(self._on_happened)
        runner.ended.connect(self._on_ended)
        session.any_of("model", "running", "loading").connect(self.refresh)
        refiner.changed.connect(self.refresh)
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """Follow the panel. If Cancel was pressed there, cancel the batch."""
        session, running = self._session, self._running
        cancelling = running and session.running == CANCELLING
        if cancelling:
            self._runner.cancel()
        self.choices.show_choices(
            session.model.name if session.model else None, self._refiner.settings, running=running
        )
        set_enabled(
            self.start_button,
            reason_batch_disabled(session) or self.choices.reason_missing(),
            "Segment all these images",
        )
        stop = "Stopping after the current step." if cancelling else None
        set_enabled(
            self.cancel_button,
            stop if running else "Nothing is running.",
            "Stop after the current step. Finished results stay.",
        )

    def start(self) -> None:
        """Start the batch with the panel's model and settings."""
        settings = self.choices.settings(self._refiner.settings)
        self._running = True
        self.table.begin(())
        self.message_bar.say(INFO, "")
        self._session.choose(running=BATCH)
        self._runner.start(batch_job, self._session.model, self.choices.inputs, self.choices.out, settings)

    def cancel(self) -> None:
        """Stop after the current step."""
        self._session.choose(running=CANCELLING)

    def done(self, result: int) -> None:
        """As Qt's; closing the window also cancels its batch."""
        if self._running and not self._session.closed:
            self.cancel()
        super().done(result)

    @Slot(object)
    def _on_happened(self, event: object) -> None:
        from ...prediction.predict_files import FileBegun, FileReport

        if isinstance(event, FilesFound):
            self.table.begin(event.files)
            self.progress.setRange(0, _STEPS * len(event.files))
        elif isinstance(event, FileBegun):
            self._number = event.number - 1
            self.table.mark("predicting")
            self._view.scrollTo(self.table.index(self._number, 0))
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
            self._show_idle("Done")
            good = all(row.status in ("done", "exists") for row in self.table.reports)
            self.message_bar.say(DONE if good else WARNING, self._summary())
        elif isinstance(outcome, Cancelled):
            self._show_idle("Cancelled")
            self.message_bar.say(INFO, f"Cancelled. {self._summary()} Press Start to continue.")
        elif isinstance(outcome, Refused):
            self._show_idle("Ready")
            self.message_bar.say(ERROR, outcome.message)
        elif isinstance(outcome, Failed):
            self._show_idle("Stopped by an error")
            report_fault(self.message_bar, outcome.error)
        self._session.choose(running=None)

    def _show_idle(self, text: str) -> None:
        self.progress.setRange(0, 1)
        self.progress.setValue(0)
        self.progress.setFormat(text)

    def _summary(self) -> str:
        counts = Counter(row.status for row in self.table.reports)
        known = ("done", "exists", "skipped", "failed")
        parts = [f"{counts[status]} {status}" for status in known if counts[status]] or ["nothing done"]
        images = f"{self.table.rowCount()} images: {', '.join(parts)}"
        return f"{images}. See report.csv in '{self.choices.out}'."
