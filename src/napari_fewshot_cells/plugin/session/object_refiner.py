"""Makes the objects of the predictions in memory again when the settings change, in a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal, Slot

from ..jobs.predictions import (
    ObjectSettings,
    Prediction,
    Predictions,
    SplitForeground,
    make_objects,
    measured,
)
from ..jobs.threads import run_function, stop_functions
from ..layers.planes import current_plane

if TYPE_CHECKING:
    from ..layers.plane_source import PlaneResult
    from .session import Session

_REST = 300  # ms; objects are measured once nothing changes for so long


class Refiner(QObject):
    """Updates the objects of every prediction in memory to the chosen settings.

    It makes the objects of one plane at a time, first of the plane on show. If the settings change meanwhile,
    the next plane uses the new ones, and finished planes are made again: the latest settings win. It measures
    only when nothing changes. If a layer becomes the user's or is removed, it is left alone, and its
    predictions are dropped.
    """

    changed = Signal()
    failed = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.predictions = Predictions()
        self.settings = ObjectSettings()
        self._session = session
        self._stopped = False
        self._making: Any = None
        self._measuring: Any = None
        self._before: SplitForeground | None = None
        self._at_rest = QTimer(self)
        self._at_rest.setSingleShot(True)
        self._at_rest.setInterval(_REST)
        self._at_rest.timeout.connect(self._go_on)
        session.any_of("layers").connect(self._tidy)
        session.results.released.connect(self._tidy)

    @property
    def on_show(self) -> Prediction | None:
        """The prediction of the plane on show, if it is in memory and its layer may change."""
        image = self._session.image
        if image is None or self._session.results.of(image) is None:
            return None
        return self.predictions.of(image, current_plane(image, self._session.viewer.dims))

    @property
    def unfinished(self) -> bool:
        """Whether some objects must still be made or measured."""
        return any(
            self.predictions.is_stale(prediction, self.settings) or self.predictions.is_unmeasured(prediction)
            for prediction in self.predictions
        )

    def choose(self, settings: ObjectSettings) -> None:
        """Use these settings from now on."""
        if settings != self.settings:
            self.settings = settings
            self._at_rest.start()
            self._go_on()
            self.changed.emit()

    def keep(self, prediction: Prediction) -> None:
        """Keep a new prediction."""
        self.predictions.keep(prediction)

    def note(self, result: PlaneResult) -> None:
        """Remember the objects that a layer shows. If the settings changed since, they are made again."""
        self.predictions.note(result)
        self._go_on()
        self.changed.emit()

    def reason_disabled(self) -> str | None:
        """Why the settings have no effect here; None if they have."""
        session = self._session
        if session.image is None:
            return "Open an image first."
        if session.results.of(session.image) is None:
            return "Predict first. Once you paint on a result it is yours, and settings no longer change it."
        if self.on_show is None:
            return "This plane's prediction is not in memory. Predict it again to change its objects."
        return None

    def reason_no_table(self) -> str | None:
        """Why there are no measurements to show; None if there are."""
        session = self._session
        if session.image is None:
            return "Open an image first."
        if session.results.of(session.image) is None:
            return (
                "Predict first. Once you paint on a result it is yours, and its measurements no longer hold."
            )
        return None

    def stop(self) -> None:
        """Wait for the threads and drop everything, as the panel closes. It may be called twice."""
        if self._stopped:
            return
        self._stopped = True
        self._at_rest.stop()
        self._session.any_of("layers").disconnect(self._tidy)
        self._session.results.released.disconnect(self._tidy)
        self.predictions = Predictions()
        stop_functions(self._making, self._measuring)

    @Slot()
    def _go_on(self) -> None:
        shown = self.on_show
        waiting = sorted(self.predictions, key=lambda prediction: prediction is not shown)
        stale = [p for p in waiting if self.predictions.is_stale(p, self.settings)]
        if stale and self._making is None:
            self._making = run_function(
                make_objects,
                stale[0],
                self.settings,
                self._before,
                then=self._on_made,
                failed=self._on_making_failed,
            )
        unmeasured = [self.predictions.made(p) for p in waiting if self.predictions.is_unmeasured(p)]
        if unmeasured and not stale and self._measuring is None and not self._at_rest.isActive():
            self._measuring = run_function(
                measured, unmeasured[0], then=self._on_measured, failed=self._on_measuring_failed
            )

    @Slot(object)
    def _on_made(self, made: tuple[PlaneResult, SplitForeground]) -> None:
        self._making = None
        result, self._before = made
        source = result.source
        # Meanwhile the layer may have been painted on or removed, the plane may have been predicted again, or
        # the settings may be back to those of the objects on show.
        prediction = self.predictions.of(source.layer, source.plane)
        if (
            prediction is not None
            and prediction.source is source
            and self.predictions.is_stale(prediction, self.settings)
        ):
            self._show(result)
        self._go_on()
        self.changed.emit()

    @Slot(object)
    def _on_measured(self, result: PlaneResult) -> None:
        self._measuring = None
        prediction = self.predictions.of(result.source.layer, result.source.plane)
        now = None if prediction is None else self.predictions.made(prediction)
        if now is not None and now.labels is result.labels:  # else these objects are no longer on show
            self._show(result)
        self._go_on()
        self.changed.emit()

    def _show(self, result: PlaneResult) -> None:
        if self._session.results.of(result.source.layer) is not None:
            self._session.show(result)
            self.predictions.note(result)

    @Slot(object)
    def _on_making_failed(self, error: Exception) -> None:
        self._making = None
        self.failed.emit(error)

    @Slot(object)
    def _on_measuring_failed(self, error: Exception) -> None:
        self._measuring = None
        self.failed.emit(error)

    def _tidy(self) -> None:
        for prediction in self.predictions:
            if self._session.results.of(prediction.source.layer) is None:
                self.predictions.forget(prediction.source.layer)
        self.changed.emit()
