"""The table of images: thumbnail, name, how far annotated, number of objects found, score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSize, Qt, Signal, Slot
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableView

from .thumbnails import SIDE, Thumbnails

if TYPE_CHECKING:
    from .image_rows import Row

MOST_ROWS = 5  # visible at a time
NAME, ANNOTATED, FOUND, SCORE, NEXT = range(5)

_HEADINGS = {
    NAME: (
        "Image",
        "Open images and listed files. A plane of a stack has a row if it is annotated, shown or suggested",
    ),
    ANNOTATED: ("Annotated", "Painted cells. 'partly': fine-tuning still needs a cell or some background"),
    FOUND: ("Found", "Cells that the last prediction found"),
    SCORE: (
        "Score",
        "Of the last model: IoU if the image was left out of training, else agreement with what you painted",
    ),
    NEXT: ("Next", "Order in which to annotate next"),
}
_NOWHERE = QModelIndex()
Index = QModelIndex | QPersistentModelIndex
_HEIGHT = SIDE + 2  # px
_WIDTHS = {
    ANNOTATED: 78,
    FOUND: 50,
    SCORE: 46,
    NEXT: 40,
}  # px: fixed, so that new rows need no new layout


class ImageModel(QAbstractTableModel):
    """The Qt model of the image table."""

    def __init__(self, thumbnails: Thumbnails, parent: Any = None) -> None:
        super().__init__(parent)
        self.rows: list[Row] = []
        self._thumbnails = thumbnails
        thumbnails.made.connect(self._on_picture)

    def show(self, rows: Sequence[Row]) -> None:
        """Replace the rows. If their number stays the same, the view keeps its state."""
        if len(rows) == len(self.rows):
            self.rows = list(rows)
            self._changed()
        else:
            self.beginResetModel()
            self.rows = list(rows)
            self.endResetModel()

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(_HEADINGS)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.ToolTipRole:
            return row.description
        if role == Qt.ItemDataRole.DecorationRole and column == NAME and row.image is not None:
            return None if row.plane is None else self._thumbnails.of(row.image, row.plane)
        if role == Qt.ItemDataRole.TextAlignmentRole and column != NAME:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        values = (row.name, row.annotated, row.found, row.score, row.rank)
        value = values[column]
        return "" if value is None else str(value)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation == Qt.Orientation.Vertical:
            return None
        heading, tip = _HEADINGS[section]
        texts: dict[int, str] = {Qt.ItemDataRole.DisplayRole: heading, Qt.ItemDataRole.ToolTipRole: tip}
        return texts.get(role)

    @Slot()
    def _on_picture(self) -> None:
        self._changed()

    def _changed(self) -> None:
        if self.rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, len(_HEADINGS) - 1))


class ImageTable(QTableView):
    """A table at most `MOST_ROWS` rows high and as wide as the panel."""

    chosen = Signal(object)

    def __init__(self, thumbnails: Thumbnails) -> None:
        super().__init__()
        self._model = ImageModel(thumbnails, self)
        self.setModel(self._model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # a plane's number is at the end of the name
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setIconSize(QSize(SIDE, SIDE))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_HEIGHT)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column, width in _WIDTHS.items():
            header.resizeSection(column, width)
        self.setToolTip("Open images and listed files; click a row to see its image")
        self.clicked.connect(self._on_clicked)

    @property
    def rows(self) -> list[Row]:
        """The rows that are shown."""
        return self._model.rows

    def show_rows(self, rows: Sequence[Row], current: int | None) -> None:
        """Show rows; select the row `current`, or none."""
        others = len(rows) != len(self.rows)
        self._model.show(rows)
        self.setColumnHidden(NEXT, all(row.rank is None for row in rows))
        self.setColumnHidden(SCORE, all(row.score is None for row in rows))
        self.setColumnHidden(FOUND, all(row.found is None for row in rows))
        height = self.horizontalHeader().sizeHint().height() + 2 * self.frameWidth()
        self.setFixedHeight(height + _HEIGHT * min(max(len(rows), 1), MOST_ROWS))
        if current is None:
            self.clearSelection()
        elif others or current != self.currentIndex().row() or not self.selectionModel().hasSelection():
            self.selectRow(current)
            self.scrollTo(self._model.index(current, NAME))

    @Slot(QModelIndex)
    def _on_clicked(self, index: QModelIndex) -> None:
        self.chosen.emit(self.rows[index.row()])
