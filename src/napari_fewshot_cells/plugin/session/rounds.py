"""What goes with each fine-tuning run: preview, comparison with the model in use, score, history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal, Slot
from superqt.utils import qdebounced

from ...base.progress import Progress
from ..jobs.events import Comparison, JobEvent, Predicting, Scored, Trained
from ..jobs.model_jobs import score_job
from ..jobs.predictions import Prediction
from ..jobs.preview_job import Preview
from ..jobs.worker import Cancelled, Done, Failed, Outcome, Refused, Runner
from ..layers.plane_source import PlaneResult
from .disabled_reasons import reason_display_disabled, reason_running
from .history import History, run_of
from .messages import WARNING
from .preview_layer import PreviewLayer
from .session import COMPARING, FINE_TUNING

if TYPE_CHECKING:
    from napari.utils.events import Event

    from ..layers.plane_source import Source
    from .session import Session


class Rounds(QObject):
    """Keeps the runs of a session, and decides which model is in use after each.

    Signals
    -------
    changed
        A score is being measured, or was measured.
    show_requested
        The name of a model whose prediction is to be shown again.
    said, failed
        A message, or an exception, for the panel.
    """

    changed = Signal()
    show_requested = Signal(str)
    said = Signal(str, str)
    failed = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.history = History()
        self.preview = PreviewLayer(session)
        self.measuring = ""
        self.verdict = ""
        self._session = session
        self._withheld = False
        self._unscored: Trained | None = None
        self._scorer = Runner(self, takes_turns=True)
        self._scorer.happened.connect(self._on_scoring)
        self._scorer.ended.connect(self._on_scored)
        self._keep_ready_soon = qdebounced(
            self._keep_ready, timeout=0
        )  # not while layers are added and removed
        session.annotations.changed.connect(self._on_layers)
        session.viewer.layers.events.removed.connect(self._on_removed)
        self._on_layers()
        session.model_renamed.connect(self.history.rename)
        self._stopped = False

    def stop(self) -> None:
        """Wait for the thread and drop everything, as the panel closes. It may be called twice."""
        if self._stopped:
            return
        self._stopped = True
        self._scorer.stop()
        self._keep_ready_soon.cancel()
        self._session.annotations.changed.disconnect(self._on_layers)
        self._session.viewer.layers.events.removed.disconnect(self._on_removed)
        self._session.model_renamed.disconnect(self.history.rename)
        self.preview.remove()
        self._session.results.keep_ready(())
        self.history.forget_all()
        self._unscored = None

    # --- a job of the panel

    def begin(self, running: str) -> None:
        """Prepare for a job. Scoring in the background stops, and starts again after the job."""
        self.verdict = ""
        self._withheld = False
        if running == FINE_TUNING:
            self._unscored = None
            self.history.offer(None)
            self.preview.begin()
        if running != COMPARING:
            self._scorer.cancel()

    def handle(self, event: JobEvent) -> bool:
        """Handle an event of a job.

        Returns
        -------
        bool
            True if nobody else needs the event, because the prediction of a worse model is not shown.
        """
        if isinstance(event, Progress) and self._session.running == FINE_TUNING:
            self.preview.follow_view()
        elif isinstance(event, Preview):
            self.preview.show(event)
        elif isinstance(event, Trained):
            self._on_trained(event)
        elif isinstance(event, Prediction):
            self.history.keep(event)
        elif isinstance(event, PlaneResult) and not self._withheld:
            self.history.show(event.provenance["model"])
        return self._withheld and isinstance(event, Predicting | Prediction | PlaneResult)

    def end(self) -> None:
        """Score the new model, as the job is over."""
        self.preview.hide()
        self._on_layers()
        self._measure()

    def _on_trained(self, event: Trained) -> None:
        self.preview.hide()
        session, comparison = self._session, event.comparison
        if comparison is not None:
            self.history.add(run_of(comparison.entry.name, comparison.card))
        self.history.add(run_of(event.entry.name, event.card))
        self._unscored = event
        if comparison is not None and comparison.is_worse:
            self._withheld = True
            self.verdict = _verdict(comparison)
            session.choose(models=(*session.models, event.entry))
            self.history.offer(event.entry.name)
        else:
            session.adopt(event.entry)

    # --- what the user decides

    def compare(self, model: str) -> None:
        """Show the prediction of a run. The model in use stays the same."""
        if model != self.history.shown and self.reason_disabled(model) is None:
            self.show_requested.emit(model)

    def restore(self, model: str) -> None:
        """Use the model of a run, and show its prediction."""
        entry = self._session.entry(model)
        if entry is None or self.reason_disabled(model) is not None:
            return
        self._session.adopt(entry)
        if model == self.history.offered:
            self.history.offer(None)
        self.compare(model)

    def keep_old(self) -> None:
        """Keep the model in use; the new one stays in the history."""
        self.history.offer(None)
        if self._session.model is not None and self.history.shown is not None:
            self.compare(self._session.model.name)

    def skip_score(self) -> None:
        """Stop scoring this model."""
        self._unscored = None
        self._scorer.cancel()

    def reason_disabled(self, model: str | None) -> str | None:
        """Why a run cannot be shown or used; None if it can."""
        if model is None:
            return "Click on a run first."
        if self._session.entry(model) is None:
            return f"'{model}' is no longer in the library."
        return reason_running(self._session) or reason_display_disabled(self._session)

    def missing(self, model: str) -> tuple[Source, ...]:
        """The planes to predict again to show a run: those dropped from memory, and the one in view."""
        session, known = self._session, self.history.predictions(model)
        layers = session.viewer.layers
        lost = [source for source in self.history.forgotten(model) if source.layer in layers]
        if session.image is not None:
            current = session.source(session.image)
            there = [*(prediction.source for prediction in known), *lost]
            if not any(s.layer == current.layer and s.plane == current.plane for s in there):
                lost.append(current)
        return tuple(lost)

    # --- the score, in the background

    def _measure(self) -> None:
        if self._unscored is not None and not self._session.busy and not self._scorer.busy:
            self.measuring = "measuring …"
            self._scorer.start(score_job, self._unscored)
            self.changed.emit()

    @Slot(object)
    def _on_scoring(self, event: JobEvent) -> None:
        if isinstance(event, Scored):
            self._unscored = None
            self.history.note(event.model, score=str(event.score), short=event.score.short)
            self._session.choose(scores=event.by_plane)
        elif isinstance(event, Progress) and event.stage != self.measuring:
            self.measuring = event.stage
            self.changed.emit()

    @Slot(object)
    def _on_scored(self, outcome: Outcome) -> None:
        self.measuring = ""
        if not isinstance(outcome, Done | Cancelled):
            self._unscored = None
        if isinstance(outcome, Refused):
            self.said.emit(WARNING, f"The model could not be scored: {outcome.message}")
        elif isinstance(outcome, Failed):
            self.failed.emit(outcome.error)
        self.changed.emit()
        self._measure()  # another run, or this one again after a job interrupted it

    def _on_layers(self) -> None:
        self._keep_ready_soon()

    @Slot()
    def _keep_ready(self) -> None:
        """Make the layers of the preview and of the results before the button is pressed."""
        if not self._session.busy:
            self._session.results.keep_ready([image for image, _ in self._session.annotations.items()])
            self.preview.keep_ready()

    def _on_removed(self, event: Event) -> None:
        self.history.forget(event.value)


def _verdict(comparison: Comparison) -> str:
    return (
        f"The new model agrees less with your annotation than '{comparison.entry.name}': IoU "
        f"{comparison.new.iou:.2f} against {comparison.old.iou:.2f}, although it was trained on all of it. "
        f"'{comparison.entry.name}' stays in use. Under History, compare both and keep one."
    )
