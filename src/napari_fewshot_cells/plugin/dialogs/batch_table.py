"""The files of a batch and what has become of each, as Qt sees them."""

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
    """One row a file, thousands of them if need be: nothing is made for a row that is not on show."""

    def __init__(self, session: Session, parent: Any = None) -> None:
        super().__init__(parent)
        self._viewer = session.viewer
        self._files: tuple[Path, ...] = ()
        self._told: list[FileReport] = []
        self._now = ""

    def begin(self, files: tuple[Path, ...]) -> None:
        """Show files of which nothing is known yet."""
        self.beginResetModel()
        self._files, self._told, self._now = files, [], ""
        self.endResetModel()

    def mark(self, status: str) -> None:
        """Say what happens to the next file, or has happened to all that are left."""
        self._now = status
        self._tell(len(self._told), len(self._files) - 1)

    def add(self, row: FileReport) -> None:
        """Take the report of the next file."""
        self._told.append(row)
        self._now = ""
        self._tell(len(self._told) - 1, len(self._told) - 1)

    @property
    def told(self) -> tuple[FileReport, ...]:
        """The reports so far."""
        return tuple(self._told)

    def _tell(self, first: int, last: int) -> None:
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
        if number >= len(self._told):
            return name, self._now if number == len(self._told) or self._now == "not done" else "", "", "", ""
        row = self._told[number]
        objects = "" if row.objects is None else str(row.objects)
        return name, row.status, objects, f"{row.seconds:.1f}", row.message
