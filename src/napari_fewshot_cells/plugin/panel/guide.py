"""One line at the top of the panel that says what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy

from ..session.disabled_reasons import reason_display_disabled
from ..session.session import BATCH, CANCELLING, COMPARING, FINE_TUNING, FINISHING, Session

if TYPE_CHECKING:
    from ..session.rounds import Rounds

_MARGIN = 5  # px
_LONGEST_NAME = 24
_RUNNING = {
    FINE_TUNING: "Training on what you painted. The cells appear when it is done. You can go on painting.",
    FINISHING: "Stopping after the current step. Then the cells appear.",
    CANCELLING: "Stopping after the current step.",
    BATCH: "Predicting a folder: its window shows how far it is.",
    COMPARING: "Showing the prediction of an earlier run.",
}


def next_step(session: Session, rounds: Rounds) -> str:
    """The next step, in words for a person who does not know the panel."""
    image, annotation, count = session.image, session.annotation, session.tally
    if session.running is not None:
        return _RUNNING.get(session.running, "Predicting: the cells appear plane by plane.")
    if image is None:
        return "Next: open an image. Drop a file on the window, press Add files…, or try File › Open Sample."
    in_the_way = reason_display_disabled(session)
    if in_the_way is not None:
        return in_the_way
    if rounds.history.offered is not None:
        return "Next: under History, click both runs to compare them, then keep one."
    found = session.results.of(image)
    if found is not None and session.model is not None:
        return (
            "Something wrong? Correct it and fine-tune again. All right? Predict other images, "
            f"or select '{_shortened(found.name)}' and press File › Save Selected Layers."
        )
    if annotation is None and session.model is not None:
        return (
            "Next: press Predict to find the cells of this image, or New annotation layer to train further."
        )
    if annotation is None and not count.cells:
        return "Next: press New annotation layer."
    if not count.cells:
        return "Next: with the Cell brush (C), paint a few whole cells."
    if not count.background:
        return "Next: with the Background brush (G), paint some background, also close to cells."
    return "Next: press Fine-tune on current annotations. A few cells are enough for a start."


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


class Guide(QLabel):
    """Shows the next step. It is always at least two lines high, so that the panel does not jump."""

    def __init__(self, session: Session, rounds: Rounds) -> None:
        super().__init__()
        self._session, self._rounds = session, rounds
        self.setObjectName("guide")
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setAlignment(Qt.AlignmentFlag.AlignVCenter)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setMargin(_MARGIN)  # Qt ignores a style sheet's margin when it computes the height of a text
        self.setMinimumHeight(2 * (self.fontMetrics().lineSpacing() + _MARGIN))
        shown = session.any_of("image", "layers", "results", "model", "tally", "running", "view")
        shown.connect(self.refresh)
        rounds.history.changed.connect(self.refresh)

    def refresh(self) -> None:
        """Show the next step."""
        text = next_step(self._session, self._rounds)
        if text != self.text():  # a new text lays out the whole panel
            self.setText(text)
