"""The Qt model of the batch table: each file and its result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from qtpy.QtGui import QColor

from ..widgets.theme_colours import colours_of

if TYPE_CHECKING:
    from ...prediction.predict_files import FileReport
    from ..session.session import Session

_HEADS = ("File", "Status", "Objects", "Seconds", "Message")
_COLOURS = {"done": "done", "skipped": "warning", "failed": "error"}
_NOWHERE = QModelIndex()
Index = QModelIndex | QPersistentModelIndex


class BatchTable(QAbstractTableModel):
    """One row for each file. Rows are computed only if they are visible, so thousands cost nothing."""

    def __init__(self, session: Session, parent: Any = None) -> None:
        super().__init__(parent)
        self._viewer = session.viewer
        self._files: tuple[Path, ...] = ()
        self._reports: list[FileReport] = []
        self._status = ""  # of the files without a report

    def begin(self, files: tuple[Path, ...]) -> None:
        """Show files that have no results yet."""
        self.beginResetModel()
        self._files, self._reports, self._status = files, [], ""
        self.endResetModel()

    def mark(self, status: str) -> None:
        """Set the status of the next file; 'not done' applies to all files that are left."""
        self._status = status
        self._emit_changed(len(self._reports), len(self._files) - 1)

    def add(self, row: FileReport) -> None:
        """Add the report of the next file."""
        self._reports.append(row)
        self._status = ""
        self._emit_changed(len(self._reports) - 1, len(self._reports) - 1)

    @property
    def reports(self) -> tuple[FileReport, ...]:
        """The reports so far."""
        return tuple(self._reports)

    def _emit_changed(self, first: int, last: int) -> None:
        if first <= last:
            self.dataChanged.emit(self.index(first, 0), self.index(last, len(_HEADS) - 1))

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._files)

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(_HEADS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return _HEADS[section]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        texts = self._texts(index.row())
        if role == Qt.ItemDataRole.DisplayRole:
            return texts[index.column()]
        if role == Qt.ItemDataRole.ToolTipRole:
            return str(self._files[index.row()]) if index.column() == 0 else texts[index.column()]
        if role == Qt.ItemDataRole.ForegroundRole and index.column() == 1 and texts[1] in _COLOURS:
            return QColor(getattr(colours_of(self._viewer.theme), _COLOURS[texts[1]]))
        return None

    def _texts(self, number: int) -> tuple[str, ...]:
        name = self._files[number].name
        if number >= len(self._reports):
            pending = number == len(self._reports) or self._status == "not done"
            return name, self._status if pending else "", "", "", ""
        row = self._reports[number]
        objects = "" if row.objects is None else str(row.objects)
        return name, row.status, objects, f"{row.seconds:.1f}", row.message
