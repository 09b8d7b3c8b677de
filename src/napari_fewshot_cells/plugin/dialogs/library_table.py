"""The models of the library in a table."""

from __future__ import annotations

from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem, QWidget

from ..jobs.library_job import LibraryRow

_HEADS = ("Name", "From", "Shots", "Score", "Date", "Note")
_WIDTHS = (210, 150, 50, 150, 85)  # px; the last column takes the remaining width


class LibraryTable(QTableWidget):
    """One row for each model; one row can be selected."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_HEADS), parent)
        self.rows: tuple[LibraryRow, ...] = ()
        self.setHorizontalHeaderLabels(_HEADS)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setToolTip("Choose a model, then press a button below")
        self.verticalHeader().hide()
        self.horizontalHeader().setStretchLastSection(True)
        for column, width in enumerate(_WIDTHS):
            self.setColumnWidth(column, width)

    @property
    def chosen(self) -> LibraryRow | None:
        """The row of the selected model."""
        selected = self.selectionModel().selectedRows()
        return self.rows[selected[0].row()] if selected else None

    def choose(self, name: str) -> None:
        """Select a model, if it is there."""
        for number, row in enumerate(self.rows):
            if row.entry.name == name:
                self.selectRow(number)

    def show_rows(self, rows: tuple[LibraryRow, ...], renamed: tuple[str, str] | None) -> None:
        """Replace the rows. The selected model stays selected, also under a new name."""
        name = self.chosen.entry.name if self.chosen else ""
        if renamed and renamed[0] == name and any(row.entry.name == renamed[1] for row in rows):
            name = renamed[1]
        self.clearSelection()
        self.rows = rows
        self.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, text in enumerate(_texts(row)):
                item = QTableWidgetItem(text)
                item.setToolTip(", ".join(row.card.shots) if row.card and column == 2 else text)
                self.setItem(number, column, item)
        self.choose(name)


def _texts(row: LibraryRow) -> tuple[str, ...]:
    card, entry = row.card, row.entry
    if card is None:
        return entry.name, "damaged", "", "", "", row.fault
    origin = "came with the package" if entry.bundled else card.parent
    return entry.name, origin, str(card.k_shot or ""), card.score, card.date[:10], card.notes
