"""2 Annotate: the annotation layer of the image, the brushes and the tools for corrections."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt import QToggleSwitch

from ...base.errors import AnnotationError
from ..annotate.tools import ACCEPT, BOX, KEYS, REJECT, Tools, reason_disabled
from ..layers.brushes import BACKGROUND, CELL, CONTOUR, ERASE
from ..session.disabled_reasons import reason_new_annotation_disabled, reason_whole_image_disabled
from ..session.session import Session
from ..widgets.controls import button_with_key, choice, fill, form, group, set_enabled

_KEYS = {**KEYS, ERASE: "E"}  # which is napari's own

_ROWS = ((CELL, BACKGROUND, ERASE), (CONTOUR, BOX), (ACCEPT, REJECT))
_TIPS = {
    CELL: "Paint a cell; press again before the next cell that touches one already painted",
    BACKGROUND: "Paint what is no cell: a few strokes, also between cells that touch",
    ERASE: "Make pixels 'not annotated' again",
    CONTOUR: "Draw around a cell, and all inside becomes a cell; every contour is a new one.\n"
    "Click from point to point; double-click or press Enter to close the contour.\n"
    "Right-click takes the last point back, Esc drops the contour.\n"
    "It paints over what is there, unless napari's 'preserve labels' is on (key B).",
    BOX: "Drag a box in which you have annotated every cell: all else in it becomes background,\n"
    "predicted cells that you have not accepted too. What you painted stays.",
    ACCEPT: "Click on predicted objects that are right: each becomes a cell of the annotation.\n"
    "What you painted stays; a stroke of a cell inside the object becomes part of it.",
    REJECT: "Click on predicted objects that are no cells: each becomes background.\nWhat you painted stays.",
}


class AnnotationBox(QWidget):
    """Makes or chooses the annotation layer, hands out brushes and tools, tells what is painted."""

    refused = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        box, layout = group("2  Annotate")
        self.new_button = QPushButton("New annotation layer")
        self.new_button.clicked.connect(self._create)
        self.layer_choice = choice()
        self.layer_choice.activated.connect(self._choose)
        self.tools = Tools(session)
        self.tools.changed.connect(self.refresh)
        self.tool_buttons = {name: button_with_key(name, _KEYS[name]) for row in _ROWS for name in row}
        rows = QVBoxLayout()
        rows.setSpacing(4)
        for names in _ROWS:
            row = QHBoxLayout()
            row.setSpacing(4)
            for name in names:
                self.tool_buttons[name].clicked.connect(partial(self._take, name))
                row.addWidget(self.tool_buttons[name], 4 + len(name))  # room for the text and its key
            rows.addLayout(row)
        self.whole_image_switch = QToggleSwitch("Whole image annotated")
        self.whole_image_switch.clicked.connect(self._set_whole_image)
        self.status = QLabel()
        self.status.setWordWrap(True)
        fields = form(("Layer", self.layer_choice))
        layout.addWidget(self.new_button)
        layout.addLayout(fields)
        layout.addLayout(rows)
        layout.addWidget(self.whole_image_switch)
        layout.addWidget(self.status)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(box)
        session.any_of("image", "layers", "results", "tally", "view").connect(self.refresh)

    def refresh(self) -> None:
        session, annotation = self._session, self._session.annotation
        layers = [(layer.name, layer) for layer in session.annotations.labels]
        fill(self.layer_choice, [("none", None), *layers], annotation.layer if annotation else None)
        set_enabled(
            self.layer_choice,
            None if session.image else "Open an image first.",
            "The labels layer that holds this image's annotation",
        )
        set_enabled(
            self.new_button,
            reason_new_annotation_disabled(session),
            "Add an empty labels layer on this image to paint on",
        )
        held = self.tools.in_hand
        for name, button in self.tool_buttons.items():
            tip = f"{_TIPS[name]}\nKey: {_KEYS[name]}, while the annotation layer is the active one"
            set_enabled(button, reason_disabled(session, name), tip)
            button.setChecked(name == held)
        set_enabled(
            self.whole_image_switch,
            reason_whole_image_disabled(session),
            "On: every cell of this image is painted, and all that is not painted is background.\n"
            "Off: what is not painted is left out of the training.",
        )
        self.whole_image_switch.setChecked(annotation is not None and annotation.whole_image)
        self.status.setText(str(session.tally))

    def _create(self) -> None:
        image = self._session.image
        if image is not None:
            self._session.annotations.create(image)
            self.tools.take(CELL)

    def _choose(self, index: int) -> None:
        try:
            self._session.choose_annotation(self.layer_choice.itemData(index))
        except AnnotationError as error:
            self.refused.emit(str(error))
        self.refresh()

    def _take(self, name: str) -> None:
        self.tools.take(name)

    def _set_whole_image(self, whole_image: bool) -> None:
        if self._session.image is not None and self._session.annotation is not None:
            self._session.annotations.set_whole_image(self._session.image, whole_image)
