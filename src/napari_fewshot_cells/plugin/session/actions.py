"""The jobs behind the panel's buttons: starts them, and handles their events and outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal, Slot

from ...base.progress import Progress
from ..jobs.events import JobEvent, Predicting, Skipped, Trained
from ..jobs.model_jobs import fine_tune_job, predict_job, show_job
from ..jobs.predictions import Prediction
from ..jobs.suggest_job import SUGGESTING, Candidate, Suggested, suggest_job
from ..jobs.worker import Cancelled, Done, Failed, Outcome, Refused
from ..layers.plane_source import PlaneResult, every_source
from .messages import DONE, ERROR, IDLE, INFO, WARNING
from .session import CANCELLING, COMPARING, FINE_TUNING, FINISHING, PREDICTING
from .state import THIS_IMAGE

if TYPE_CHECKING:
    from ..jobs.worker import Runner
    from .object_refiner import Refiner
    from .rounds import Rounds
    from .session import Session

MOST_PLANES = 25  # of a stack, evenly spaced: neighbouring planes look alike
_MOST_NAMED = 3


class Actions(QObject):
    """Runs one job at a time on a session. The panel owns the runner, and stops it when it closes.

    Signals
    -------
    training_begun
        A training begins: what is shown of the last one is out of date.
    progressed
        A `Progress` of the job.
    ended
        The job has ended; a short text for the progress bar says how.
    suggested
        A `Suggested`: the places to annotate next.
    said, failed
        A message, or an exception, for the panel.
    """

    training_begun = Signal()
    progressed = Signal(object)
    ended = Signal(str)
    suggested = Signal(object)
    said = Signal(str, str)
    failed = Signal(object)

    def __init__(
        self,
        session: Session,
        refiner: Refiner,
        rounds: Rounds,
        runner: Runner,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._refiner, self._rounds, self._runner = session, refiner, rounds, runner
        self._enough = Event()
        self._summary = RunSummary()
        runner.happened.connect(self._on_happened)
        runner.ended.connect(self._on_ended)

    @Slot()
    def fine_tune(self) -> None:
        """Fine-tune on all annotations, then predict the annotated planes and the plane on show."""
        session = self._session
        current = session.source(session.image) if session.image is not None else None
        self._begin(FINE_TUNING)
        self._enough = Event()
        self.training_begun.emit()
        self._runner.start(
            fine_tune_job,
            session.model if session.continued and session.model else session.start,
            session.painted(),
            current,
            diameter=session.diameter,
            recipe=session.recipe,
            stop=self._enough.is_set,
            settings=self._refiner.settings,
            previous=session.model,
            view=lambda: self._rounds.preview.wanted,
        )

    @Slot(str)
    def show_run(self, model: str) -> None:
        """Show a run's prediction again. Planes that are no longer in memory are predicted again."""
        entry, kept = self._session.entry(model), self._rounds.history.predictions(model)
        missing, settings = self._rounds.missing(model), self._refiner.settings
        self._begin(COMPARING)
        self._runner.start(show_job, entry, kept, missing, settings)

    @Slot()
    def predict(self) -> None:
        """Predict the planes of the chosen scope with the chosen model."""
        session = self._session
        settings, alone = self._refiner.settings, session.scope == THIS_IMAGE
        self._begin(PREDICTING)
        self._runner.start(predict_job, session.model, session.targets(), settings, stop_at_bad_image=alone)

    @Slot()
    def suggest(self) -> None:
        """Find what to annotate next, with the chosen model."""
        self._begin(SUGGESTING)
        self._runner.start(suggest_job, self._session.model, candidates(self._session))

    @Slot()
    def stop_and_keep(self) -> None:
        """End the training after the current step, keep its model and predict with it."""
        self._enough.set()
        self._session.choose(running=FINISHING)

    @Slot()
    def cancel(self) -> None:
        """Stop the job after the current step."""
        self._session.choose(running=CANCELLING)
        self._runner.cancel()

    def _begin(self, running: str) -> None:
        self._summary = RunSummary()
        self.said.emit(INFO, "")
        self._rounds.begin(running)
        self._session.choose(running=running)

    @Slot(object)
    def _on_happened(self, event: JobEvent) -> None:
        if self._rounds.handle(event):
            return
        if isinstance(event, Progress):
            self.progressed.emit(event)
        elif isinstance(event, Trained):
            self._session.choose(running=PREDICTING)
            self._summary.trained = event.entry.name
        elif isinstance(event, Predicting):
            self._session.show(event)
        elif isinstance(event, Prediction):
            self._refiner.keep(event)
        elif isinstance(event, Suggested):
            self.suggested.emit(event)
        elif isinstance(event, Skipped):
            self._summary.skipped.append(event.message)
        elif isinstance(event, PlaneResult):
            layer = self._session.show(event)
            self._summary.add(event, shown=layer is not None)
            if layer is not None:
                self._refiner.note(event)

    @Slot(object)
    def _on_ended(self, outcome: Outcome) -> None:
        self._session.choose(running=None)
        self._rounds.end()
        if isinstance(outcome, Refused):
            self.ended.emit(IDLE)
            self.said.emit(ERROR, outcome.message)
        elif isinstance(outcome, Failed):
            self.ended.emit("Stopped by an error")
            self.failed.emit(outcome.error)
        elif isinstance(outcome, Cancelled):
            self.ended.emit("Cancelled")
            model = self._session.model
            stays = f"'{model.name}' stays in use." if model else "Nothing has changed."
            self.said.emit(INFO, f"Cancelled. {stays}")
        elif isinstance(outcome, Done):
            self.ended.emit(IDLE)
            message = self._rounds.verdict or str(self._summary)
            self.said.emit(WARNING if self._rounds.verdict or self._summary.incomplete else DONE, message)


def candidates(session: Session) -> list[Candidate]:
    """Planes of all images, at most `MOST_PLANES` per stack."""
    return list(_candidates(session))


def _candidates(session: Session) -> Iterator[Candidate]:
    for image in session.annotations.images:
        annotation, planes = session.annotations.of(image), list(every_source(image, session.viewer.dims))
        chosen = np.linspace(0, len(planes) - 1, min(len(planes), MOST_PLANES)).round().astype(int)
        for source in (planes[n] for n in chosen):
            if annotation is None or annotation.layer.data.shape != source.grid:
                yield Candidate(source)
            else:
                yield Candidate(source, annotation.layer.data, annotation.whole_image)


@dataclass
class RunSummary:
    """What a job has done so far; `str` makes a message of it."""

    found: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    trained: str = ""

    @property
    def incomplete(self) -> bool:
        """Whether any plane has no result."""
        return bool(self.skipped or self.lost)

    def add(self, result: PlaneResult, *, shown: bool) -> None:
        """Add a plane. It is not `shown` if its image was removed meanwhile."""
        name, count = result.source.label, len(result.table["index"])
        if shown:
            self.found.append(f"{count} cell{'s' * (count != 1)} in '{name}'")
        else:
            self.lost.append(name)

    def __str__(self) -> str:
        lines = self.found if len(self.found) <= _MOST_NAMED else [f"{len(self.found)} images predicted"]
        words = [", ".join(lines) + "."] if lines else []
        words += [f"The model is saved as '{self.trained}'."] if self.trained else []
        words += [f"'{name}' was removed, so it has no result." for name in self.lost]
        if len(self.skipped) > _MOST_NAMED:
            words += [f"{len(self.skipped)} images were skipped. The first:"]
        return "\n".join(words + self.skipped[: _MOST_NAMED if len(self.skipped) <= _MOST_NAMED else 1])
