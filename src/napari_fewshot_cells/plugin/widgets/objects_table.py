"""The table of objects: clicking a row shows its object, clicking an object selects its row."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QModelIndex, Qt, Signal, Slot
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from ...base.errors import DataError
from ..session.object_refiner import Refiner
from ..session.session import Session
from .controls import set_enabled
from .file_dialogs import save_dialog
from .objects_csv import file_name, save_csv
from .objects_model import ObjectsModel

if TYPE_CHECKING:
    from napari.layers import Labels


_ROW = 22  # px


class ObjectsTable(QWidget):
    """Measurements of the chosen image's objects.

    napari's own features table does not do: it treats row numbers as labels and does not move the view.
    """

    refused = Signal(str)
    saved = Signal(str)

    def __init__(self, session: Session, refiner: Refiner) -> None:
        super().__init__()
        self.closed = False
        self._session, self._refiner = session, refiner
        self._layer: Labels | None = None
        self.model = ObjectsModel(self)
        self.view = QTableView()
        self.view.setModel(self.model)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.view.setSortingEnabled(True)
        self.view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.view.setToolTip("Click a row to see its object, an object to find its row, or a heading to sort")
        self.view.verticalHeader().hide()
        self.view.verticalHeader().setDefaultSectionSize(_ROW)
        self.view.horizontalHeader().setResizeContentsPrecision(0)  # measures visible rows only
        self.view.clicked.connect(self._on_row)
        self.title = QLabel()
        self.save_button = QPushButton("Save as CSV…")
        self.save_button.clicked.connect(self._save)
        top = QHBoxLayout()
        top.addWidget(self.title, 1)
        top.addWidget(self.save_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(top)
        layout.addWidget(self.view)
        refiner.changed.connect(self.refresh)
        self._followed = session.any_of("image", "layers", "results")
        self._followed.connect(self.refresh)
        session.viewer.mouse_drag_callbacks.append(self._on_mouse)
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """Show the result of the chosen image."""
        layer = self._session.results.of(self._session.image)
        if layer is not self._layer:
            self._follow(layer)
        count = self.model.rowCount()
        self.title.setText("No result to show." if layer is None else f"{count} objects in '{layer.name}'")
        waiting = "Wait a moment: the objects are being measured." if self._refiner.unfinished else None
        set_enabled(
            self.save_button,
            self._refiner.reason_no_table() or waiting,
            "Write all rows and columns to a file for spreadsheets",
        )

    def close_table(self) -> None:
        """Disconnect from viewer and layer; closing twice is fine."""
        if self.closed:
            return
        self.closed = True
        self._follow(None)
        self._refiner.changed.disconnect(self.refresh)
        self._followed.disconnect(self.refresh)
        self._session.viewer.mouse_drag_callbacks.remove(self._on_mouse)

    def event(self, event: QEvent) -> bool:
        """As Qt's; a table without a parent was removed from its dock, so close it."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.close_table()
        return super().event(event)

    def _follow(self, layer: Labels | None) -> None:
        if self._layer is not None:
            self._layer.events.features.disconnect(self._on_features)
            self._layer.events.selected_label.disconnect(self._on_selected_label)
        self._layer = layer
        if layer is not None:
            layer.events.features.connect(self._on_features)
            layer.events.selected_label.connect(self._on_selected_label)
        self._on_features()
        self.view.resizeColumnsToContents()

    def _on_features(self) -> None:
        columns = self.model.columnCount()
        self.model.show(None if self._layer is None else self._layer.features)
        if self.model.columnCount() != columns:
            self.view.resizeColumnsToContents()

    # --- from the row to the object and back

    @Slot(QModelIndex)
    def _on_row(self, index: QModelIndex) -> None:
        layer = self._layer
        if layer is None:
            return
        label, place = self.model.label(index.row()), self.model.place(index.row())
        there = tuple(place.get(f"plane-{axis}", slice(None)) for axis in range(layer.ndim))
        rows, columns = np.nonzero(np.asarray(layer.data[there]) == label)
        if not len(rows):
            return
        middle = iter((rows.mean(), columns.mean()))
        self._go_to(layer, [next(middle) if isinstance(at, slice) else at for at in there])
        layer.selected_label = label

    def _go_to(self, layer: Labels, point: list[float]) -> None:
        """Centre the view on a point of the layer."""
        viewer = self._session.viewer
        world = np.asarray(layer.data_to_world(point))
        offset = viewer.dims.ndim - len(world)
        for axis, value in enumerate(world, start=offset):
            if axis not in viewer.dims.displayed:
                viewer.dims.set_point(axis, value)
        seen = [world[axis - offset] for axis in viewer.dims.displayed]
        viewer.camera.center = (0.0, *seen)[-3:]

    def _on_selected_label(self) -> None:
        if self._layer is not None:
            self._select(int(self._layer.selected_label))

    def _select(self, label: int) -> None:
        row = self.model.row_of(label)
        if row is None:
            self.view.clearSelection()
        else:
            self.view.selectRow(row)  # scrolls to it

    def _on_mouse(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        """Select the row of the clicked object. A click is a press and a release without a move between."""
        yield
        if event.type != "mouse_release":
            return
        if self._layer is not None and self._layer.visible:
            label = self._layer.get_value(
                event.position,
                view_direction=event.view_direction,
                dims_displayed=event.dims_displayed,
                world=True,
            )
            if label and not isinstance(
                label, tuple
            ):  # only a multiscale layer gives a tuple; a result has one scale
                self._select(int(label))

    # --- the file

    @Slot()
    def _save(self) -> None:
        if self._layer is None:
            return
        name, title = file_name(self._layer.name), "Save the table of objects"
        dialog = save_dialog(
            self._session, self, title, name, "Table (*.csv)"
        )  # Qt asks before it overwrites a file
        dialog.setDefaultSuffix("csv")  # so that Qt checks the full name for an existing file
        if not dialog.exec():
            return
        self.write(Path(dialog.selectedFiles()[0]))

    def write(self, path: Path) -> None:
        """Write the table; emit `saved`, or `refused` with the reason."""
        if self._layer is None:  # the image was closed while the file was chosen
            self.refused.emit("There is no result to save any more.")
            return
        try:
            save_csv(self._layer.features, path)
        except DataError as error:
            self.refused.emit(str(error))
        else:
            self.saved.emit(f"Saved the table as '{path}'.")
