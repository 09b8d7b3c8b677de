"""Keeps the user's preferences: read when the panel opens, written shortly after a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Signal, Slot
from superqt.utils import qdebounced

from ...base.errors import DataError
from ...projects.preferences import Preferences, read_preferences, write_preferences
from ..jobs.threads import run_function
from ..layers.brushes import NAPARI_BRUSH, plane_on_show, usual_brush_size
from .messages import WARNING

if TYPE_CHECKING:
    from napari.layers import Labels

    from .object_refiner import Refiner
    from .session import Session

_REST = 700  # ms; the file is written once nothing changes for so long


class Collapsible(Protocol):
    """A part of the panel that can be closed; `name` is its key in the file."""

    name: str
    toggled: Any  # Qt's signal, of a bool

    def open(self, opened: bool) -> None:
        """Show or hide the content."""


class PreferenceSync(QObject):
    """Syncs the preferences file with the session and the refiner.

    Signals
    -------
    said
        Why the preferences cannot be saved; not repeated until a save succeeds.
    failed
        The exception of a fault.
    """

    said = Signal(str, str)
    failed = Signal(object)

    def __init__(self, session: Session, refiner: Refiner) -> None:
        super().__init__()
        self._session, self._refiner = session, refiner
        kept, self.trouble = read_preferences()
        self._kept = kept  # what the file holds, unless others wrote it
        self._writing = Lock()
        self._stopped = self._complained = False
        self._network_taken = False
        self._layer: Labels | None = None
        session.preferences, session.preview, session.scope = kept, kept.preview, kept.scope
        refiner.settings = replace(refiner.settings, min_size=kept.min_size, max_hole=kept.max_hole)
        self._write_at_rest = qdebounced(self._write_soon, timeout=_REST)
        self._followed = session.any_of("loading", "image", "layers", "preferences", "preview", "scope")
        self._followed.connect(self._on_session)
        refiner.changed.connect(self._write_if_changed)

    def follow(self, steps: Sequence[Collapsible]) -> None:
        """Close the steps that were closed before, and keep which ones are."""
        for step in steps:
            step.open(step.name not in self._session.preferences.collapsed)
            step.toggled.connect(partial(self._on_toggled, step.name))

    def stop(self) -> None:
        """Write what is unsaved and stop listening, as the panel closes. It may be called twice."""
        if self._stopped:
            return
        self._stopped = True
        self._write_at_rest.cancel()
        self._followed.disconnect(self._on_session)
        self._refiner.changed.disconnect(self._write_if_changed)
        self._follow_brush(None)
        try:
            self._write()
        except DataError as error:
            if not self._complained:
                show_warning(str(error))

    def now(self) -> Preferences:
        """The current preferences."""
        session, objects = self._session, self._refiner.settings
        return replace(
            session.preferences,
            preview=session.preview,
            scope=session.scope,
            min_size=objects.min_size,
            max_hole=objects.max_hole,
        )

    # --- what changes

    def _on_session(self) -> None:
        session = self._session
        if not self._network_taken and not session.loading:
            self._network_taken = True
            entry = session.entry(session.preferences.network)
            if entry is not None and entry != session.start:
                session.choose(start=entry)
        annotation = session.annotation
        self._follow_brush(annotation.layer if annotation else None)
        self._write_if_changed()

    @Slot()
    def _write_if_changed(self) -> None:
        if not self._stopped and self.now() != self._kept:
            self._write_at_rest()

    def _on_toggled(self, name: str, opened: bool) -> None:
        others = [closed for closed in self._session.preferences.collapsed if closed != name]
        self._session.prefer(collapsed=tuple(sorted(others if opened else [*others, name])))

    def _follow_brush(self, layer: Labels | None) -> None:
        if layer is self._layer:
            return
        if self._layer is not None:
            self._layer.events.brush_size.disconnect(self._on_brush)
        self._layer = layer
        if layer is not None:
            size = self._session.preferences.brush_size
            if size is not None and layer.brush_size == NAPARI_BRUSH:
                layer.brush_size = size
            layer.events.brush_size.connect(self._on_brush)

    def _on_brush(self) -> None:
        if self._layer is None:
            return
        size = float(self._layer.brush_size)
        usual = usual_brush_size(plane_on_show(self._session.viewer, self._layer).shape)
        self._session.prefer(brush_size=None if size == usual else size)

    # --- the file

    @Slot()
    def _write_soon(self) -> None:
        if not self._stopped:
            run_function(self._write, then=self._on_written, failed=self._on_failed)

    def _write(self) -> None:
        """Write the current preferences. Safe in any thread: the last one to write writes the newest."""
        with self._writing:
            now = self.now()
            if now != self._kept:
                write_preferences(now)
                self._kept = now

    @Slot(object)
    def _on_written(self, _: object) -> None:
        self._complained = False

    @Slot(object)
    def _on_failed(self, error: Exception) -> None:
        if not isinstance(error, DataError):
            self.failed.emit(error)
        elif not self._complained:  # only once: the message would come with every click
            self._complained = True
            self.said.emit(WARNING, str(error))
