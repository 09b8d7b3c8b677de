"""2 Annotate: the annotation layer of the image and the brushes."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt import QToggleSwitch

from ..errors import AnnotationError
from .brushes import BACKGROUND, BRUSHES, CELL, ERASE, brush_in_hand, take_brush
from .controls import choice, fill, form, group, set_enabled
from .session import Session

_TIPS = {
    CELL: "Paint a cell; press again before the next cell that touches one already painted",
    BACKGROUND: "Paint what is no cell: a few strokes, also between cells that touch",
    ERASE: "Make pixels 'not annotated' again",
}


class AnnotationBox(QWidget):
    """Makes or chooses the annotation layer, hands out brushes, tells what is painted."""

    refused = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        box, layout = group("2  Annotate")
        self.new_button = QPushButton("New annotation layer")
        self.new_button.clicked.connect(self._create)
        self.layer_choice = choice()
        self.layer_choice.activated.connect(self._choose)
        self.brush_buttons = {brush: QPushButton(brush) for brush in BRUSHES}
        brushes = QHBoxLayout()
        brushes.setSpacing(4)
        for brush, button in self.brush_buttons.items():
            button.setCheckable(True)
            button.clicked.connect(partial(self._take, brush))
            brushes.addWidget(button, 1)
        self.whole_image_switch = QToggleSwitch("Whole image annotated")
        self.whole_image_switch.clicked.connect(self._set_whole_image)
        self.status = QLabel()
        self.status.setWordWrap(True)
        fields = form(("Layer", self.layer_choice))
        layout.addWidget(self.new_button)
        layout.addLayout(fields)
        layout.addLayout(brushes)
        layout.addWidget(self.whole_image_switch)
        layout.addWidget(self.status)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(box)

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
            session.reason_new_annotation_disabled(),
            "Add an empty labels layer on this image to paint on",
        )
        reason = session.reason_brush_disabled()
        held = brush_in_hand(session.viewer, annotation.layer) if annotation else None
        for brush, button in self.brush_buttons.items():
            set_enabled(button, reason, _TIPS[brush])
            button.setChecked(brush == held)
        set_enabled(
            self.whole_image_switch,
            session.reason_whole_image_disabled(),
            "On: every cell of this image is painted, and all that is not painted is background.\n"
            "Off: what is not painted is left out of the training.",
        )
        self.whole_image_switch.setChecked(annotation is not None and annotation.whole_image)
        self.status.setText(str(session.tally))

    def _create(self) -> None:
        image = self._session.image
        if image is not None:
            labels = self._session.annotations.create(image)
            take_brush(self._session.viewer, labels, CELL)

    def _choose(self, index: int) -> None:
        try:
            self._session.choose_annotation(self.layer_choice.itemData(index))
        except AnnotationError as error:
            self.refused.emit(str(error))
        self.refresh()

    def _take(self, brush: str) -> None:
        annotation = self._session.annotation
        if annotation is not None:
            take_brush(self._session.viewer, annotation.layer, brush)
        self.refresh()

    def _set_whole_image(self, whole_image: bool) -> None:
        if self._session.image is not None and self._session.annotation is not None:
            self._session.annotations.set_whole_image(self._session.image, whole_image)
