"""Box "2 Annotate": the image's annotation layer, the brushes and the tools for corrections."""

from __future__ import annotations

from functools import partial
from itertools import groupby

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt import QToggleSwitch

from ...base.errors import AnnotationError
from ..annotate.tools import Tools
from ..layers.brushes import CELL
from ..session.disabled_reasons import reason_new_annotation_disabled, reason_whole_image_disabled
from ..session.session import Session
from ..widgets.controls import button_with_key, choice, fill, form, group, set_enabled


class AnnotationBox(QWidget):
    """Creates or chooses the annotation layer, takes tools in hand and shows what is painted."""

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
        self.tool_buttons = {name: button_with_key(name, tool.key) for name, tool in self.tools.known.items()}
        rows = QVBoxLayout()
        rows.setSpacing(4)
        for _, tools in groupby(self.tools.known.values(), key=lambda tool: tool.row):
            row = QHBoxLayout()
            row.setSpacing(4)
            for name in (tool.name for tool in tools):
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
            set_enabled(button, self.tools.reason_disabled(name), self.tools.known[name].tooltip)
            button.setChecked(name == held)
        set_enabled(
            self.whole_image_switch,
            reason_whole_image_disabled(session),
            "On: you have painted every cell of this image; unpainted pixels are background.\n"
            "Off: training ignores unpainted pixels.",
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
