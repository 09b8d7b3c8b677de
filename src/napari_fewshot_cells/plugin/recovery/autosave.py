"""Saves the session while the user paints: a recovery copy on the disk, at most a few seconds old."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QCoreApplication, QObject, QTimer, Signal, Slot

from ...base.errors import FewShotError
from ...data.fingerprint import Fingerprint
from ...projects.recovery import RecoveryWriter, settle
from ..jobs.threads import run_function, stop_functions
from ..layers.paint_events import PaintEvents
from ..layers.planes import pixels_of
from ..session.messages import INFO, WARNING
from .recovery_notes import note_recovery, own_folder
from .snapshot import Snapshot, take_snapshot

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.utils.events import Event

    from ...projects.project import ImageRecord
    from ...projects.project_folder import SavedState
    from ..session.object_refiner import Refiner
    from ..session.rounds import Rounds
    from ..session.session import Session

REST = 1.0  # s after the last stroke
LONGEST_UNSAVED = 3.0  # s after the first unsaved stroke, if painting goes on
RETRY = 10.0  # s until the next try after a failed save

_KEPT = ("layers", "results", "channel", "start", "model", "continued", "preview", "diameter", "scope")


class Autosave(QObject):
    """Writes the session's recovery copy in a thread; see `projects.recovery`.

    The GUI thread only hands over references. The worker thread copies a plane, compares it with the plane on
    the disk, and writes it if they differ. Strokes painted meanwhile are written the next time.

    Signals
    -------
    said, failed
        A message, or an exception, for the panel.
    """

    said = Signal(str, str)
    failed = Signal(object)

    def __init__(
        self, session: Session, refiner: Refiner, rounds: Rounds, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._refiner, self._rounds = session, refiner, rounds
        self._writer = RecoveryWriter(own_folder(session.annotations.labels))
        self._fingerprints: dict[Image, tuple[Any, Fingerprint]] = {}
        self._painted_first: float | None = None  # of what is unsaved
        self._changed = self._scan = False
        self._saved = False  # as a project; the copy must still note it
        self._failing = ""
        self._worker: Any = None
        self._writing: Snapshot | None = None
        self._before_removal: Snapshot | None = None
        self._superseded: Path | None = None  # folder of the restored session, which this one will hold
        self._settling: Path | None = None  # the same, while this session is written
        self._finished = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._save)
        self._paint_events = PaintEvents(session.viewer.layers)
        layers = session.viewer.layers
        self._connections: tuple[tuple[Any, Callable[..., None]], ...] = (
            (session.annotations.painted, self._on_painted),
            (self._paint_events.painted, self._on_painted),
            (session.any_of(*_KEPT), self._on_changed),
            (refiner.changed, self._on_changed),
            (rounds.history.changed, self._on_changed),
            (layers.events.removing, self._on_removing),
            (layers.events.removed, self._on_changed),
        )
        for signal, slot in self._connections:
            signal.connect(slot)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.finish)
        if session.annotations.items():
            self._on_painted()

    @property
    def folder(self) -> Path | None:
        """The folder of the copy; None if there is nothing to save."""
        return self._writer.folder

    @property
    def unsaved(self) -> bool:
        """Whether anything must still be written."""
        return self._changed or self._scan or self._worker is not None

    def snapshot(self, *, every_image: bool = False) -> Snapshot:
        """The state to save now."""
        there = self._session.annotations.images
        self._fingerprints = {
            image: known
            for image, known in self._fingerprints.items()
            if image in there and pixels_of(image) is known[0]
        }
        fingerprints = {image: fingerprint for image, (_, fingerprint) in self._fingerprints.items()}
        return take_snapshot(
            self._session, self._refiner.settings, self._rounds, fingerprints, every_image=every_image
        )

    def note_saved(self) -> None:
        """Note that the user saved a project: the session is not offered again unless it changes."""
        self._saved = True
        self._on_changed()

    def supersede(self, folder: Path) -> None:
        """Stop offering another session once this session's copy holds what was restored of it."""
        self._superseded = folder
        self._on_painted()

    @Slot()
    def finish(self) -> None:
        """Write the last copy in this thread, as the panel closes. It may be called twice."""
        if self._finished:
            return
        self._finished = True
        self._timer.stop()
        for signal, slot in self._connections:
            signal.disconnect(slot)
        self._connections = ()
        stop_functions(self._worker)
        # A closing window removes its layers first: save the state before that
        last = self._before_removal or self.snapshot()
        scan = self._scan or self._worker is not None or self._before_removal is not None
        try:
            self._writer.write(last.state, scan=scan, saved=self._saved, closed=True)
            self._settle(self._superseded)
        except FewShotError as error:
            logging.getLogger(__name__).warning("The last recovery copy failed: %s", error)
        self._paint_events.stop()
        self._fingerprints, self._worker, self._writing, self._before_removal = {}, None, None, None

    # --- when to write

    def _on_painted(self) -> None:
        self._scan, self._saved = True, False
        self._on_changed()

    def _on_changed(self) -> None:
        if self._finished:
            return
        self._changed = True
        now = time.monotonic()
        if self._painted_first is None:
            self._painted_first = now
        if not self._failing:
            self._wait(min(now + REST, self._painted_first + LONGEST_UNSAVED) - now)

    def _on_removing(self, event: Event) -> None:
        if self._before_removal is None:
            self._before_removal = self.snapshot()

    def _go_on(self) -> None:
        self._worker = self._writing = None
        if self._changed or self._scan:
            since = 0.0 if self._painted_first is None else time.monotonic() - self._painted_first
            self._wait(RETRY if self._failing else min(REST, LONGEST_UNSAVED - since))

    def _wait(self, seconds: float) -> None:
        self._timer.start(max(0, round(1000 * seconds)))

    @Slot()
    def _save(self) -> None:
        if self._worker is not None or self._finished:
            return  # `_go_on` will call it again
        scan = self._scan
        self._changed = self._scan = False
        self._painted_first = self._before_removal = None
        saved, self._saved = self._saved, False
        self._settling = self._superseded
        self._writing = self.snapshot()
        self._worker = run_function(
            self._writer.write,
            self._writing.state,
            scan=scan,
            saved=saved,
            then=self._on_written,
            failed=self._on_error,
        )

    # --- after writing

    @Slot(object)
    def _on_written(self, saved: SavedState | None) -> None:
        if self._finished or self._writing is None:
            return
        if self._failing:
            self._failing = ""
            self.said.emit(INFO, "Automatic saving works again.")
        if saved is not None:
            self._keep_fingerprints(self._writing, saved.project.images)
            note_recovery(self._writing, saved, self.folder, self._session.viewer.layers)
            self._settle(self._settling)
        self._go_on()

    @Slot(object)
    def _on_error(self, error: Exception) -> None:
        if self._finished:
            return
        self._changed = self._scan = True
        reported, self._failing = self._failing, str(error) or type(error).__name__
        if not isinstance(error, FewShotError):
            if not reported:
                self.failed.emit(error)
        elif not reported:
            self.said.emit(
                WARNING,
                f"Automatic saving failed: {error} It is tried again every few seconds. "
                "Use Save project… to save elsewhere.",
            )
        self._go_on()

    def _keep_fingerprints(self, written: Snapshot, records: Sequence[ImageRecord]) -> None:
        for image, record, state in zip(written.images, records, written.state.images, strict=True):
            if image is not None and record.fingerprint.digest:
                self._fingerprints[image] = state.array, record.fingerprint

    def _settle(self, folder: Path | None) -> None:
        if folder is not None and folder == self._superseded:
            self._superseded = None
            with suppress(FewShotError):  # then it is offered once more
                settle(folder, "restored")
