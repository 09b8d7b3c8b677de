"""Opens files as layers: lists them first, and reads one in a thread when the user wants to see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal, Slot

from ...base.errors import FewShotError
from ..jobs.threads import run_function
from ..layers.file_layer import read_layer

if TYPE_CHECKING:
    from .session import Session


def files_in(paths: Sequence[Path]) -> list[Path]:
    """The image files among files and folders; raises `DataError` if a folder has none."""
    from ...data.image_files import list_images

    return [file for path in paths for file in list_images(path)]


class FileOpener(QObject):
    """Holds the files that were added but are not open yet.

    Signals
    -------
    changed
        The list of files changed.
    opened
        The new layer of a file.
    refused
        A message: what is wrong with a file.
    failed
        The exception of a fault.
    """

    changed = Signal()
    opened = Signal(object)
    refused = Signal(str)
    failed = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.paths: list[Path] = []
        self._wanted: list[Path] = []
        self._reading: Path | None = None

    def add(self, paths: Sequence[Path]) -> None:
        """List files, and the images in folders, each once."""
        run_function(files_in, list(paths), then=self._on_listed, failed=self._report_error)

    def open(self, *paths: Path) -> None:
        """Read files one by one, and make a layer of each."""
        self._wanted += [path for path in paths if path not in self._wanted and path != self._reading]
        self._go_on()

    @Slot()
    def _go_on(self) -> None:
        if self._reading is None and self._wanted and not self._session.closed:
            self._reading = self._wanted.pop(0)
            run_function(read_layer, self._reading, then=self._on_read, failed=self._on_unreadable)

    @Slot(object)
    def _on_listed(self, files: list[Path]) -> None:
        self.paths += [file for file in dict.fromkeys(files) if file not in self.paths]
        self.changed.emit()

    @Slot(object)
    def _on_read(self, made: tuple[np.ndarray, dict[str, Any]]) -> None:
        if self._session.closed:
            return
        self._leave()
        values, options = made
        self.opened.emit(self._session.viewer.add_image(values, **options))

    @Slot(object)
    def _on_unreadable(self, error: Exception) -> None:
        self._leave()
        self._report_error(error)

    @Slot(object)
    def _report_error(self, error: Exception) -> None:
        if isinstance(error, FewShotError):
            self.refused.emit(str(error))
        else:
            self.failed.emit(error)

    def _leave(self) -> None:
        path, self._reading = self._reading, None
        self.paths = [file for file in self.paths if file != path]
        self.changed.emit()
        QTimer.singleShot(0, self._go_on)  # after the layer of this file is made
