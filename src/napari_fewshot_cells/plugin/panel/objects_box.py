"""Box "5 Objects": sliders that make objects from the prediction, and the button of their table."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget
from superqt import QLabeledDoubleSlider, QLabeledSlider

from ..jobs.predictions import ObjectSettings
from ..session.messages import DONE, ERROR, INFO
from ..session.object_refiner import Refiner
from ..session.session import Session
from ..widgets.controls import form, group, set_enabled
from ..widgets.objects_table import ObjectsTable

if TYPE_CHECKING:
    from napari.viewer import Viewer

_NO_SIZE = 36.0
"""Diameter of an object in px if the model has none. Only the ranges of the sliders depend on it."""


class ObjectsBox(QWidget):
    """Sliders that make objects again from predictions in memory; the network does not run."""

    said = Signal(str, str)

    def __init__(self, session: Session, refiner: Refiner) -> None:
        super().__init__()
        self._session, self._refiner = session, refiner
        self.table: ObjectsTable | None = None
        box, layout = group("5  Objects")
        self.step = box
        self.threshold = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.threshold.setDecimals(2)
        self.threshold.setRange(0.01, 0.99)
        self.threshold.setSingleStep(0.01)  # type: ignore[arg-type]  # superqt annotates int, but takes a float
        self.min_size = QLabeledSlider(Qt.Orientation.Horizontal)
        self.max_hole = QLabeledSlider(Qt.Orientation.Horizontal)
        self.threshold.valueChanged.connect(self._choose_threshold)
        self.min_size.valueChanged.connect(self._choose_min_size)
        self.max_hole.valueChanged.connect(self._choose_max_hole)
        self.reset_button = QPushButton("Reset")
        self.reset_button.clicked.connect(self._reset)
        self.table_button = QPushButton("Table of objects")
        self.table_button.clicked.connect(self._show_table)
        buttons = QHBoxLayout()
        buttons.addWidget(self.table_button, 1)
        buttons.addWidget(self.reset_button, 1)
        layout.addLayout(
            form(
                ("Threshold", self.threshold),
                ("Smallest (px)", self.min_size),
                ("Fill holes (px)", self.max_hole),
            )
        )
        layout.addLayout(buttons)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(box)
        session.any_of("image", "layers", "results", "plane", "view").connect(self.refresh)
        refiner.changed.connect(self.refresh)

    def refresh(self) -> None:
        refiner = self._refiner
        prediction = refiner.on_show
        diameter = None if prediction is None else prediction.diameter
        chosen, typical = refiner.settings, round((diameter or _NO_SIZE) ** 2 * 0.785)
        smallest = chosen.smallest(diameter)
        ranges: tuple[tuple[Any, float, float], ...] = (
            (self.threshold, 0.99, chosen.threshold),
            (self.min_size, max(2 * typical, smallest), smallest),
            (self.max_hole, max(typical, chosen.max_hole), chosen.max_hole),
        )
        for slider, most, value in ranges:
            slider.blockSignals(True)
            if slider.maximum() != most:
                slider.setMaximum(most)
            if slider.value() != value:
                slider.setValue(value)
            slider.blockSignals(False)
        reason = refiner.reason_disabled()
        set_enabled(
            self.threshold,
            reason,
            "Probability above which a pixel belongs to an object",
        )
        set_enabled(self.min_size, reason, "Objects with a smaller area, in pixels, are removed")
        set_enabled(self.max_hole, reason, "Holes in objects are filled up to this area, in pixels")
        usual = "Nothing has been changed." if refiner.settings == ObjectSettings() else None
        set_enabled(
            self.reset_button,
            reason or usual,
            "Back to the values that follow from your annotation",
        )
        set_enabled(
            self.table_button,
            refiner.reason_no_table(),
            "Show the measurements of each object beside the image; click a row to see the object",
        )

    def _choose_threshold(self, value: float) -> None:
        self._choose(replace(self._refiner.settings, threshold=round(value, 2)))

    def _choose_min_size(self, value: int) -> None:
        self._choose(replace(self._refiner.settings, min_size=value))

    def _choose_max_hole(self, value: int) -> None:
        self._choose(replace(self._refiner.settings, max_hole=value))

    def _reset(self) -> None:
        self._choose(ObjectSettings())

    def _choose(self, settings: ObjectSettings) -> None:
        self.said.emit(INFO, "")  # the number of cells in the last message is out of date
        self._refiner.choose(settings)

    def _show_table(self) -> None:
        """Open the table below the image, unless it is open."""
        if self.table is None or self.table.closed:
            self.table = ObjectsTable(self._session, self._refiner)
            self.table.refused.connect(partial(self.said.emit, ERROR))
            self.table.saved.connect(partial(self.said.emit, DONE))
            window = cast("Viewer", self._session.viewer).window  # the panel's viewer always has a window
            window.add_dock_widget(self.table, name="Objects", area="bottom")
