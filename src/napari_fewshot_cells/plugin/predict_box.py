"""4 Predict: which model, on what."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from .controls import choice, fill, form, group, set_enabled
from .session import ALL_IMAGES, ALL_PLANES, THIS_IMAGE, Session


class PredictBox(QWidget):
    """Chooses among the user's models and starts prediction."""

    predict_requested = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        box, layout = group("4  Predict")
        self.model_choice = choice()
        self.model_choice.setPlaceholderText("none chosen yet")
        self.model_choice.activated.connect(self._choose_model)
        self.scope_choice = choice()
        self.scope_choice.activated.connect(self._choose_scope)
        self.predict_button = QPushButton("Predict")
        self.predict_button.clicked.connect(self.predict_requested)
        fields = form(("Model", self.model_choice), ("On", self.scope_choice))
        layout.addLayout(fields)
        layout.addWidget(self.predict_button)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(box)

    def refresh(self) -> None:
        session = self._session
        own = [entry for entry in reversed(session.models) if not entry.bundled]
        fill(self.model_choice, [(entry.name, entry) for entry in own], session.model)
        where = (
            f"Fine-tuned models, the newest first; this one is\n{session.model.path}" if session.model else ""
        )
        set_enabled(
            self.model_choice,
            None if own else "No fine-tuned model yet: fine-tune first.",
            f"Your fine-tuned models, the newest first{where}",
        )
        fill(self.scope_choice, self._scopes(), session.scope)
        set_enabled(
            self.scope_choice, None if session.image else "Open an image first.", "What Predict works on"
        )
        set_enabled(
            self.predict_button,
            session.reason_predict_disabled(),
            "Find the cells with this model; the result is a labels layer",
        )

    def _scopes(self) -> list[tuple[str, str]]:
        image = self._session.image
        if image is not None and image.ndim > 2:
            return [
                ("this plane", THIS_IMAGE),
                ("all planes of this stack", ALL_PLANES),
                ("all images", ALL_IMAGES),
            ]
        return [("this image", THIS_IMAGE), ("all images", ALL_IMAGES)]

    def _choose_model(self, index: int) -> None:
        self._session.adopt(self.model_choice.itemData(index))

    def _choose_scope(self, index: int) -> None:
        self._session.choose(scope=self.scope_choice.itemData(index))
