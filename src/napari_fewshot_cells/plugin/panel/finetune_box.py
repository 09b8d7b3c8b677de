"""Box "3 Fine-tune": the button, the progress bar and the loss curve."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...base.progress import Progress
from ...models.library import ModelEntry
from ...models.registry import NETWORKS
from ..session.disabled_reasons import (
    reason_cancel_disabled,
    reason_continue_disabled,
    reason_fine_tune_disabled,
    reason_keep_disabled,
)
from ..session.messages import IDLE
from ..session.session import Session
from ..widgets.collapsible_box import CollapsibleBox
from ..widgets.controls import choice, fill, form, group, set_enabled
from ..widgets.loss_curve import LossCurve

_SHOWN = ("models", "start", "model", "diameter", "continued", "preview", "loading", "running")
_NEEDED = ("image", "layers", "view")  # before training can start


class FineTuneBox(QWidget):
    """Requests fine-tuning and cancelling; shows progress, loss and remaining time of the running job."""

    fine_tune_requested = Signal()
    keep_requested = Signal()
    cancel_requested = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        box, layout = group("3  Fine-tune")
        self.step = box
        self.start_choice = choice()
        self.start_choice.activated.connect(self._choose_start)
        self.diameter = QDoubleSpinBox()
        self.diameter.setRange(0, 2000)
        self.diameter.setDecimals(0)
        self.diameter.setSuffix(" px")
        self.diameter.setSpecialValueText("auto")
        self.diameter.setToolTip("Diameter of a typical cell. Auto (0): measured on what you painted.")
        self.diameter.valueChanged.connect(self._choose_diameter)
        self.continue_check = QCheckBox("Continue from the last model")
        self.continue_check.toggled.connect(self._choose_continued)
        self.preview_check = QCheckBox("Preview while training")
        self.preview_check.setToolTip(
            "Every few seconds, show what the model would predict in the visible part of the image. "
            "The preview layer is hidden when the training ends. Previews take a tenth of the time."
        )
        self.preview_check.toggled.connect(self._choose_preview)
        self.fine_tune_button = QPushButton("Fine-tune on current annotations")
        self.fine_tune_button.setObjectName("primary")
        self.fine_tune_button.clicked.connect(self.fine_tune_requested)
        self.progress = QProgressBar()
        self.progress.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.curve = LossCurve()
        self.keep_button = QPushButton("Stop and keep")
        self.keep_button.clicked.connect(self.keep_requested)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(self.cancel_requested)
        fields = form(("Network", self.start_choice), ("Cell diameter", self.diameter))
        ends = QHBoxLayout()
        ends.setSpacing(4)
        ends.addWidget(self.keep_button, 1)
        ends.addWidget(self.cancel_button, 1)
        self.options = CollapsibleBox("Options", framed=False)
        self.options.inside.addLayout(fields)
        self.options.inside.addWidget(self.continue_check)
        self.options.inside.addWidget(self.preview_check)
        layout.addWidget(self.fine_tune_button)
        layout.addWidget(self.progress)
        layout.addLayout(ends)
        layout.addWidget(self.curve)  # last: it appears when training starts and must not move a button
        layout.addWidget(self.options)
        self.show_idle(IDLE)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(box)
        session.any_of(*_SHOWN, *_NEEDED).connect(self.refresh)

    def refresh(self) -> None:
        session = self._session
        options = [(_label(entry), entry) for entry in session.models]
        fill(self.start_choice, options, session.start)
        if (session.diameter or 0) != self.diameter.value():
            self.diameter.blockSignals(True)
            self.diameter.setValue(session.diameter or 0)
            self.diameter.blockSignals(False)
        size = f"{session.diameter:g} px" if session.diameter else "auto"
        network = self.start_choice.currentText() or "no network"
        self.options.summarise(f"{network}, cell diameter {size}")
        loading = "Wait a moment: PyTorch is loading." if session.loading else None
        set_enabled(self.start_choice, loading, "The network that every training starts from")
        for check, chosen in (
            (self.continue_check, session.continued),
            (self.preview_check, session.preview),
        ):
            check.blockSignals(True)
            check.setChecked(chosen)
            check.blockSignals(False)
        set_enabled(
            self.continue_check,
            reason_continue_disabled(session),
            "On: start from the model in use. Mistakes that it has learnt may stay.\n"
            "Off: start from the network above, with all annotations.",
        )
        set_enabled(
            self.fine_tune_button,
            reason_fine_tune_disabled(session),
            "Train on everything you painted, on all images. Your annotations do not change.",
        )
        set_enabled(
            self.keep_button,
            reason_keep_disabled(session),
            "If the loss no longer falls: stop the training, keep the model so far and predict with it",
        )
        set_enabled(
            self.cancel_button,
            reason_cancel_disabled(session),
            "Stop after the current step. The previous model stays in use.",
        )

    def show_progress(self, step: Progress) -> None:
        """Move the bar; show stage, loss and remaining time."""
        if step.loss is not None:
            self.curve.add(step.done, step.loss)
        words = [step.stage.capitalize()]
        if step.total > 1:
            words[0] += f" {step.done}/{step.total}"
        if step.loss is not None:
            words.append(f"loss {step.loss:.3f}")
        if step.remaining:
            words.append(f"{max(1, round(step.remaining))} s left")
        self._set_bar(" · ".join(words), step.done, step.total)

    def show_idle(self, text: str) -> None:
        """Empty the bar and show how the last job ended."""
        self._set_bar(text, 0, 1)

    def _set_bar(self, text: str, done: int, total: int) -> None:
        # The text is in the bar because a label would lay out the whole panel at every step (30 ms).
        # Updates are off because Qt repaints the bar, and the whole window, at every new value.
        self.progress.setUpdatesEnabled(False)
        self.progress.setFormat(text.replace("%", "%%"))
        if total != self.progress.maximum():
            self.progress.setRange(0, total)
        self.progress.setValue(done)
        self.progress.setUpdatesEnabled(True)

    def _choose_start(self, index: int) -> None:
        entry = self.start_choice.itemData(index)
        self._session.prefer(network=entry.name)
        self._session.choose(start=entry)

    def _choose_diameter(self, value: float) -> None:
        self._session.choose(diameter=value or None)

    def _choose_continued(self, checked: bool) -> None:
        self._session.choose(continued=checked)

    def _choose_preview(self, checked: bool) -> None:
        self._session.choose(preview=checked)


def _label(entry: ModelEntry) -> str:
    """The name in the list: the network's title for a bundled model, otherwise the model's name."""
    return NETWORKS[entry.name].label if entry.bundled and entry.name in NETWORKS else entry.name
