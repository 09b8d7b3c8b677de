"""Opens a project, or an unsaved session, beside what is already open in the viewer."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, Signal, Slot

from ...base.errors import FewShotError
from ...projects.project import CORRECTED, LabelsRecord, Project, read_project
from ..jobs.predictions import ObjectSettings
from ..jobs.worker import Cancelled, Done, Failed, Outcome, Refused, Runner
from ..layers.metadata import IMAGE, WHOLE_IMAGE, note
from ..layers.planes import geometry_of, grid_of, pixels_of
from ..session.disabled_reasons import reason_running
from ..session.history import Run
from ..session.messages import DONE, ERROR, INFO, WARNING
from ..session.session import CANCELLING, OPENING, Session
from ..session.state import ALL_IMAGES, ALL_PLANES, THIS_IMAGE
from .read_project import (
    Opened,
    OpenedImage,
    OpenedLabels,
    OpenedModels,
    fingerprint_or_none,
    is_same_image,
    open_job,
)
from .snapshot import look_options

if TYPE_CHECKING:
    from ..session.object_refiner import Refiner
    from ..session.rounds import Rounds

_MOST_NOTES = 6


class ProjectOpener(QObject):
    """Opens projects, one at a time. It never replaces what is painted in the viewer.

    Signals
    -------
    said, failed
        A message, or an exception, for the panel.
    shown
        The image to bring into view.
    ended
        The folder, and whether everything in it was opened.
    """

    said = Signal(str, str)
    failed = Signal(object)
    shown = Signal(object)
    ended = Signal(object, bool)

    def __init__(
        self, session: Session, refiner: Refiner, rounds: Rounds, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._refiner, self._rounds = session, refiner, rounds
        self.runner = Runner(self)
        self.runner.happened.connect(self._on_opened)
        self.runner.ended.connect(self._on_ended)
        session.any_of("running").connect(self._on_session)
        self._folder, self._project = Path(), Project()
        self._layers: dict[int, Image] = {}
        self._names: dict[str, str] = {}
        self._notes: list[str] = []
        self._restored = 0

    def open(self, folder: Path) -> None:
        """Open what can be opened of a project; a message names the rest."""
        if reason_running(self._session) is not None or self.runner.busy:
            return
        try:
            project = read_project(folder)
        except FewShotError as error:
            self.said.emit(ERROR, str(error))
            return
        self._folder, self._project, self._restored = folder, project, 0
        self._layers, self._names, self._notes = {}, {}, []
        self.said.emit(INFO, "")
        there = [(image, pixels_of(image)) for image in self._session.annotations.images]
        self._session.choose(running=OPENING)
        self.runner.start(open_job, folder, project, there)

    def _on_session(self) -> None:
        if self._session.running == CANCELLING and self.runner.busy:
            self.runner.cancel()

    @Slot(object)
    def _on_opened(self, event: Opened) -> None:
        if isinstance(event, OpenedModels):
            self._session.set_models(event.entries)
            self._names = event.names
            self._notes += event.notes
        elif isinstance(event, OpenedImage):
            self._on_image(event)
        else:
            self._on_labels(event)

    # --- images

    def _on_image(self, event: OpenedImage) -> None:
        layer = event.layer
        if layer is not None and layer not in self._session.viewer.layers:
            layer = None  # removed meanwhile
        if event.values is not None:
            layer = self._add_image(event.values, event.options or {})
        elif event.path is not None:
            layer = self._open_with_reader(event)
        if layer is None:
            self._notes.append(event.note)
        else:
            self._layers[event.number] = layer

    def _add_image(self, values: np.ndarray, options: dict[str, Any]) -> Image:
        try:
            return self._added(values, options)
        except (
            TypeError,
            ValueError,
            KeyError,
        ):  # a file edited by hand, or of another napari: do without the look
            plain = {name: options[name] for name in ("name", "rgb", "metadata")}
            return self._added(values, plain)

    def _added(self, values: np.ndarray, options: dict[str, Any]) -> Image:
        # add_image returns several layers only for a channel axis, which is not given
        return cast(Image, self._session.viewer.add_image(values, **options))

    def _open_with_reader(self, event: OpenedImage) -> Image | None:
        """Open a file with the reader plugin that opened it before; keep only the recorded image's layer."""
        record, viewer = self._project.images[event.number], self._session.viewer
        if record.reader is None:
            return None
        try:
            opened = viewer.open(str(event.path), plugin=record.reader)
        except Exception:  # a reader may raise anything; the note says what is not open
            return None
        found = None
        for layer in opened:
            if (
                found is None
                and isinstance(layer, Image)
                and is_same_image(record, fingerprint_or_none(pixels_of(layer)))
            ):
                found = layer
            else:
                viewer.layers.remove(layer)
        if found is not None:
            found.name = record.name
        return found

    # --- labels

    def _on_labels(self, event: OpenedLabels) -> None:
        record = event.record
        self._notes += event.notes
        if event.values is None:
            return
        self._restored += bool(event.values.any())
        number = record.image
        image = None if number is None else self._layers.get(number)
        if image is not None and event.values.shape != grid_of(image):
            image = None
        current = None if image is None else self._session.annotations.of(image)
        if current is not None and np.array_equal(current.layer.data, event.values):
            return  # it is already open
        if image is not None and current is not None and np.any(current.layer.data):
            layer = self._add_labels(event.values, replace(record, name=f"{record.name} (restored)"), image)
            self._notes.append(
                f"'{image.name}' has another annotation now. The restored one is the layer '{layer.name}'."
            )
            return
        layer = self._add_labels(event.values, record, image)
        if image is not None and record.role != CORRECTED:
            self._session.annotations.link(image, layer, whole_image=record.whole_image)

    def _add_labels(self, values: np.ndarray, record: LabelsRecord, image: Image | None) -> Labels:
        options = look_options(record.look)
        options.pop("metadata")
        if image is not None:
            options.update(geometry_of(image))
        try:
            layer = Labels(values, name=record.name, **options)
        except (TypeError, ValueError, KeyError):  # as for images
            layer = Labels(values, name=record.name)
        if record.role == CORRECTED:
            note(layer, model=self._project.settings.model or "")
        elif record.image is None:
            note(layer, **{WHOLE_IMAGE: record.whole_image})
        else:
            note(layer, **{IMAGE: self._project.images[record.image], WHOLE_IMAGE: record.whole_image})
        self._session.viewer.add_layer(layer)
        return layer

    # --- the end

    @Slot(object)
    def _on_ended(self, outcome: Outcome) -> None:
        self._session.choose(running=None)
        if isinstance(outcome, Failed):
            self.failed.emit(outcome.error)
        elif isinstance(outcome, Refused):
            self.said.emit(ERROR, outcome.message)
        elif isinstance(outcome, Cancelled):
            self.said.emit(INFO, "Cancelled. What is already open stays open.")
        elif isinstance(outcome, Done):
            self._choose_settings()
            annotated = [image for image in self._layers.values() if self._session.annotations.of(image)]
            if annotated or self._layers:
                self.shown.emit((annotated or list(self._layers.values()))[0])
            self._report()
        self.ended.emit(self._folder, isinstance(outcome, Done) and not self._notes)
        self._layers = {}

    def _choose_settings(self) -> None:
        session, chosen = self._session, self._project.settings
        named = [
            session.entry(self._names.get(name, name)) for name in (chosen.start or "", chosen.model or "")
        ]
        self._rounds.history.add(*(self._run(asdict(run)) for run in self._project.runs))
        session.choose(
            start=named[0] or session.start,
            model=named[1] or session.model,
            continued=chosen.continued and (named[1] or session.model) is not None,
            preview=chosen.preview,
            diameter=chosen.diameter,
            scope=chosen.scope if chosen.scope in (THIS_IMAGE, ALL_PLANES, ALL_IMAGES) else session.scope,
        )
        if 0 < chosen.threshold < 1:
            self._refiner.choose(ObjectSettings(chosen.threshold, chosen.min_size, chosen.max_hole))

    def _run(self, facts: dict[str, Any]) -> Run:
        return Run(**{**facts, "model": self._names.get(facts["model"], facts["model"])})

    def _report(self) -> None:
        images, painted = len(self._layers), self._restored
        done = f"Opened {images} image{'s' * (images != 1)} and {painted} annotation{'s' * (painted != 1)}."
        notes = self._notes[:_MOST_NOTES]
        if len(self._notes) > len(notes):
            notes.append(f"… and {len(self._notes) - len(notes)} more.")
        self.said.emit(WARNING if notes else DONE, "\n".join([done, *notes]))
