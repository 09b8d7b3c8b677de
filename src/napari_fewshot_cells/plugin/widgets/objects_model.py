"""The Qt model of the table of objects; columns sort as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt

if TYPE_CHECKING:
    import pandas as pd

_NOWHERE = QModelIndex()
Index = QModelIndex | QPersistentModelIndex


class ObjectsModel(QAbstractTableModel):
    """One row for each object. NumPy sorts whole columns, so that sorting does not block the GUI thread."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._columns: list[str] = []
        self._values: list[np.ndarray] = []
        self._sorted: tuple[int, Qt.SortOrder] = (0, Qt.SortOrder.AscendingOrder)

    def show(self, table: pd.DataFrame | None) -> None:
        """Show the rows of a features table, or none. The chosen order stays."""
        self.beginResetModel()
        self._columns = [] if table is None else [str(name) for name in table.columns]
        self._values = [] if table is None else [table[name].to_numpy() for name in table.columns]
        self._order()
        self.endResetModel()

    def label(self, row: int) -> int:
        """Label of the object in a row."""
        return int(self._values[self._columns.index("index")][row])

    def row_of(self, label: int) -> int | None:
        """Present row of an object; None if it is not in the table."""
        if "index" not in self._columns:
            return None
        found = np.flatnonzero(self._values[self._columns.index("index")] == label)
        return int(found[0]) if len(found) else None

    def place(self, row: int) -> dict[str, int]:
        """The ``plane-k`` columns of a row: column name to index on that axis."""
        return {
            name: int(values[row])
            for name, values in zip(self._columns, self._values, strict=True)
            if name.startswith("plane-")
        }

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() or not self._values else len(self._values[0])

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._columns)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        value = self._values[index.column()][index.row()]
        if isinstance(value, np.floating):
            return "" if np.isnan(value) else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
        return str(value)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if role != Qt.ItemDataRole.DisplayRole or orientation == Qt.Orientation.Vertical:
            return None
        name = self._columns[section]
        return "object" if name == "index" else name  # "index" is napari's word for the label

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._sorted = (column, order)
        self.layoutAboutToBeChanged.emit()
        self._order()
        self.layoutChanged.emit()

    def _order(self) -> None:
        column, order = self._sorted
        if not 0 <= column < len(self._values):
            return
        rows = np.argsort(self._values[column], kind="stable")
        if order == Qt.SortOrder.DescendingOrder:
            rows = rows[::-1]
        self._values = [values[rows] for values in self._values]
