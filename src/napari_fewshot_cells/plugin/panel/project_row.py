"""The top row of the panel: open or save a project, restore or dismiss an unsaved session."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from qtpy.QtCore import Signal, Slot
from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...base.errors import FewShotError
from ...projects.project_folder import SavedState, SessionState, write_project
from ...projects.recovery import MOST_KEPT, Recovery, prune, recoveries, settle
from ..jobs.threads import run_function
from ..recovery.autosave import Autosave
from ..recovery.restore import ProjectOpener
from ..session.disabled_reasons import reason_running
from ..session.messages import DONE, ERROR, INFO, WARNING
from ..session.session import Session
from ..widgets.controls import hint, set_enabled

_OFFER = "QFrame#offer { border: 1px solid #c98a1b; border-radius: 6px; }"


class ProjectRow(QWidget):
    """Buttons to open and save a project; while a session can be restored, a frame with two more.

    Attributes
    ----------
    folder : Path or None
        The project that *Save* writes to.
    saving_to : Path or None
        The project that is being written.

    Signals
    -------
    said : str, str
        Kind and text of a message.
    failed : Exception
        An unexpected error.
    """

    said = Signal(str, str)
    failed = Signal(object)

    def __init__(self, session: Session, autosave: Autosave, project_opener: ProjectOpener) -> None:
        super().__init__()
        self._session, self._autosave, self._project_opener = session, autosave, project_opener
        self.folder: Path | None = None
        self._offered: Recovery | None = None
        self._restored: Path | None = None
        self.saving_to: Path | None = None
        self._painted_since = False
        self.open_button = QPushButton("Open project…")
        self.open_button.clicked.connect(self._ask_open)
        self.save_button = QPushButton("Save project…")
        self.save_button.clicked.connect(self._save)
        self.save_as_button = QPushButton("Save as…")
        self.save_as_button.clicked.connect(self._ask_save)
        self.save_as_button.setVisible(False)
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        buttons.addWidget(self.open_button, 1)
        buttons.addWidget(self.save_button, 1)
        buttons.addWidget(self.save_as_button, 1)
        self.offer, self.offer_line = QFrame(), hint()
        self.restore_button, self.dismiss_button = QPushButton("Restore"), QPushButton("Dismiss")
        self.restore_button.clicked.connect(self._restore)
        self.dismiss_button.clicked.connect(self._dismiss)
        self._lay_out_offer()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(6)
        outer.addLayout(buttons)
        outer.addWidget(self.offer)
        project_opener.ended.connect(self._on_restored)
        session.annotations.painted.connect(self._on_painted)
        session.any_of("layers", "loading", "running").connect(self.refresh)
        self._find_unsaved()
        self.refresh()

    def _lay_out_offer(self) -> None:
        self.offer.setObjectName("offer")
        self.offer.setStyleSheet(_OFFER)
        self.offer.setVisible(False)
        choices = QHBoxLayout()
        choices.setSpacing(4)
        choices.addWidget(self.restore_button, 1)
        choices.addWidget(self.dismiss_button, 1)
        layout = QVBoxLayout(self.offer)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(5)
        layout.addWidget(self.offer_line)
        layout.addLayout(choices)

    def refresh(self) -> None:
        wait = reason_running(self._session)
        set_enabled(
            self.open_button,
            wait,
            "Open a saved project: images, annotations, models and settings. What is open now stays open.",
        )
        saving = f"Wait: '{self.saving_to}' is being saved." if self.saving_to else None
        empty = None if self._session.annotations.images else "Open an image first."
        where = f"Save to\n{self.folder}" if self.folder else "Choose a new or empty folder"
        set_enabled(
            self.save_button,
            saving or empty,
            f"{where}: images, annotations, models and settings. Any machine can open them.\n"
            "What you paint is also saved automatically, in case napari or the computer stops.",
        )
        set_enabled(self.save_as_button, saving or empty, "Save to another folder. Later saves go there too.")
        self.save_button.setText("Save project" if self.folder else "Save project…")
        self.save_as_button.setVisible(self.folder is not None)
        if self._offered is not None:
            set_enabled(
                self.restore_button, wait, "Open its images and annotations. What is open now stays open."
            )
            set_enabled(
                self.dismiss_button,
                None,
                f"Do not offer it again. It is not deleted: the last {MOST_KEPT} sessions stay, this one in\n"
                f"{self._offered.folder}\n'Open project…' can open it from there.",
            )

    # --- an unsaved session

    def _find_unsaved(self) -> None:
        run_function(_waiting_sessions, then=self._on_found, failed=self.failed.emit)

    @Slot(object)
    def _on_found(self, found: list[Recovery]) -> None:
        if self._session.closed:
            return
        own = self._autosave.folder
        self._offered = next((recovery for recovery in found if recovery.folder != own), None)
        if self._offered is not None:
            self.offer_line.setText(describe_offer(self._offered, datetime.now().astimezone()))
        self.offer.setVisible(self._offered is not None)
        self.refresh()

    @Slot()
    def _restore(self) -> None:
        if self._offered is not None:
            self._restored = self._offered.folder
            self._project_opener.open(self._restored)

    @Slot()
    def _dismiss(self) -> None:
        if self._offered is None:
            return
        try:
            settle(self._offered.folder, "dismissed")
        except FewShotError as error:
            self.said.emit(ERROR, str(error))
            return
        self._find_unsaved()  # there may be an older one

    @Slot(object, bool)
    def _on_restored(self, folder: Path, complete: bool) -> None:
        if folder == self._restored:
            self._restored = None
            self._offered = None
            self.offer.setVisible(False)
            if complete:  # otherwise it is offered again next time
                self._autosave.supersede(folder)
        elif complete:
            self.folder = folder
        self.refresh()

    # --- projects

    @Slot()
    def _ask_open(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open the folder of a project")
        if folder:
            self._project_opener.open(Path(folder))

    @Slot()
    def _save(self) -> None:
        if self.folder is None:
            self._ask_save()
        else:
            self.save(self.folder)

    @Slot()
    def _ask_save(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a new or empty folder for the project")
        if folder:
            self.save(Path(folder))

    def save(self, folder: Path) -> None:
        """Save everything to a folder in a thread, while painting and training go on."""
        if self.saving_to is not None:
            return
        self.saving_to, self._painted_since = folder, False
        self.said.emit(INFO, f"Saving to '{folder}' …")
        state: SessionState = self._autosave.snapshot(every_image=True).state
        run_function(write_project, folder, state, then=self._on_saved, failed=self._on_unsaved)
        self.refresh()

    def _on_painted(self) -> None:
        self._painted_since = True

    @Slot(object)
    def _on_saved(self, saved: SavedState) -> None:
        if self._session.closed:
            return
        self.folder, self.saving_to = self.saving_to, None
        if not self._painted_since:
            self._autosave.note_saved()
        number = saved.project.annotated
        done = f"Saved to '{self.folder}': {number} annotated image{'s' * (number != 1)}."
        self.said.emit(WARNING if saved.notes else DONE, "\n".join([done, *saved.notes]))
        self.refresh()

    @Slot(object)
    def _on_unsaved(self, error: Exception) -> None:
        if self._session.closed:
            return
        self.saving_to = None
        if isinstance(error, FewShotError):
            self.said.emit(ERROR, str(error))
        else:
            self.failed.emit(error)
        self.refresh()


def _waiting_sessions() -> list[Recovery]:
    prune()
    return recoveries()


def describe_offer(recovery: Recovery, now: datetime) -> str:
    """One sentence about an unsaved session: when it was, and how many images are annotated."""
    when, number = recovery.when, recovery.project.annotated
    days = (now.date() - when.date()).days
    day = {0: "today", 1: "yesterday"}.get(days, f"{when:%Y-%m-%d}")
    images = f"{number} annotated image{'s' * (number != 1)}"
    return f"The session of {day} {when:%H:%M} was not saved as a project: {images}."
