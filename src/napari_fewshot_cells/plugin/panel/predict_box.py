"""Box "4 Predict": the model, and the images to predict."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from ..dialogs.batch_dialog import BatchDialog
from ..dialogs.library_dialog import LibraryDialog
from ..jobs.worker import Runner
from ..session.disabled_reasons import reason_batch_disabled, reason_predict_disabled
from ..session.object_refiner import Refiner
from ..session.session import Session
from ..session.state import ALL_IMAGES, ALL_PLANES, THIS_IMAGE
from ..widgets.controls import choice, fill, form, group, set_enabled


class PredictBox(QWidget):
    """Chooses one of the user's models, requests prediction and opens the two dialogs.

    Attributes
    ----------
    runners : tuple of Runner
        The runners of the two dialogs. The panel stops them when it closes.
    library_dialog, batch_dialog
        None until first opened.
    """

    predict_requested = Signal()

    def __init__(self, session: Session, refiner: Refiner) -> None:
        super().__init__()
        self._session, self._refiner = session, refiner
        self.runners = (Runner(), Runner())
        self.library_dialog: LibraryDialog | None = None
        self.batch_dialog: BatchDialog | None = None
        box, layout = group("4  Predict")
        self.model_choice = choice()
        self.model_choice.setPlaceholderText("none chosen yet")
        self.model_choice.activated.connect(self._choose_model)
        self.scope_choice = choice()
        self.scope_choice.activated.connect(self._choose_scope)
        self.predict_button = QPushButton("Predict")
        self.predict_button.clicked.connect(self.predict_requested)
        self.batch_button = QPushButton("Predict a folder…")
        self.batch_button.clicked.connect(self.predict_folder)
        self.library_button = QPushButton("Manage models…")
        self.library_button.clicked.connect(self.manage_models)
        layout.addLayout(form(("Model", self.model_choice), ("On", self.scope_choice)))
        layout.addWidget(self.predict_button)
        buttons = QHBoxLayout()
        buttons.addWidget(self.batch_button, 1)
        buttons.addWidget(self.library_button, 1)
        layout.addLayout(buttons)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(box)
        shown = session.any_of("models", "model", "scope", "image", "running", "loading", "view")
        shown.connect(self.refresh)

    def refresh(self) -> None:
        session = self._session
        own = [entry for entry in reversed(session.models) if not entry.bundled]
        fill(self.model_choice, [(entry.name, entry) for entry in own], session.model)
        where = f"\nThis one: {session.model.path}" if session.model else ""
        set_enabled(
            self.model_choice,
            None if own else "No fine-tuned model yet: fine-tune first.",
            f"Your fine-tuned models, the newest first{where}",
        )
        scopes = self._scopes()
        # an image with one plane has no "all planes"
        known = session.scope in [scope for _, scope in scopes]
        fill(self.scope_choice, scopes, session.scope if known else THIS_IMAGE)
        set_enabled(
            self.scope_choice, None if session.image else "Open an image first.", "What Predict works on"
        )
        set_enabled(
            self.predict_button,
            reason_predict_disabled(session),
            "Find the cells with this model. The result is a labels layer.",
        )
        set_enabled(
            self.batch_button,
            None if session.model else reason_batch_disabled(session),
            "Segment all images of a folder with this model and write the results to files",
        )
        set_enabled(
            self.library_button,
            "Wait a moment: PyTorch is loading." if session.loading else None,
            "Rename, describe, delete, import and export your models",
        )

    def manage_models(self) -> None:
        """Open the table of models."""
        if self.library_dialog is None:
            self.library_dialog = LibraryDialog(self._session, self.runners[0], self)
        self.library_dialog.reload()
        self.library_dialog.show()
        self.library_dialog.raise_()

    def predict_folder(self) -> None:
        """Open the batch dialog."""
        if self.batch_dialog is None:
            self.batch_dialog = BatchDialog(self._session, self._refiner, self.runners[1], self)
        self.batch_dialog.refresh()
        self.batch_dialog.show()
        self.batch_dialog.raise_()

    def close_dialogs(self) -> None:
        """Close both dialogs, which cancels their jobs; closing twice is fine."""
        if self._session.closed:
            return
        for dialog in (self.library_dialog, self.batch_dialog):
            if dialog is not None:
                dialog.close()

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
