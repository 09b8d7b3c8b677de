"""The dock widget: boxes in the order of work, a message bar, and the connections to session and jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import napari.viewer
from qtpy.QtCore import QEvent, Qt, QTimer, Slot
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget
from superqt.utils import qdebounced

from ..jobs.preload import load_library
from ..jobs.threads import run_function
from ..jobs.worker import Runner
from ..layers.plane_source import Tally, tally
from ..layers.planes import current_plane
from ..recovery.autosave import Autosave
from ..recovery.relink_labels import LabelRelinker
from ..recovery.restore import ProjectOpener
from ..session.actions import Actions
from ..session.messages import ERROR, WARNING
from ..session.object_refiner import Refiner
from ..session.preference_sync import PreferenceSync
from ..session.rounds import Rounds
from ..session.session import Session
from ..widgets.collapsible_box import CollapsibleBox
from ..widgets.message_bar import MessageBar, report_fault
from ..widgets.theme_colours import Colours, colours_of, style_sheet
from .annotation_box import AnnotationBox
from .finetune_box import FineTuneBox
from .guide import Guide
from .history_box import HistoryBox
from .image_box import ImageBox
from .objects_box import ObjectsBox
from .predict_box import PredictBox
from .project_row import ProjectRow

if TYPE_CHECKING:
    from napari.layers import Image

    from ...models.library import ModelEntry

_TALLY_DELAY = 250  # ms after the last stroke


class FewShotWidget(QWidget):
    """Shows a `Session` in boxes and connects their signals to the jobs."""

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = Session(viewer)
        self.refiner = Refiner(self.session)
        self.preference_sync = PreferenceSync(self.session, self.refiner)
        self.rounds = Rounds(self.session)
        self.autosave = Autosave(self.session, self.refiner, self.rounds)
        self.project_opener = ProjectOpener(self.session, self.refiner, self.rounds)
        self._relinker = LabelRelinker(self.session)
        self._runner = Runner(takes_turns=True)
        self._actions = Actions(self.session, self.refiner, self.rounds, self._runner)
        self.image_box = ImageBox(self.session)
        self.annotation_box = AnnotationBox(self.session)
        self.finetune_box = FineTuneBox(self.session)
        self.predict_box = PredictBox(self.session, self.refiner)
        self.history_box = HistoryBox(self.session, self.rounds)
        self.project_row = ProjectRow(self.session, self.autosave, self.project_opener)
        runners = (self._runner, self.project_opener.runner, *self.predict_box.runners)
        self._ends = (
            self.autosave.finish,  # first: it needs the session's layers
            self._relinker.stop,
            self.preference_sync.stop,
            *(runner.stop for runner in runners),
            self.refiner.stop,
            self.rounds.stop,
            self.annotation_box.tools.close,
            self.session.close,
        )
        self.objects_box = ObjectsBox(self.session, self.refiner)
        self._boxes = (
            self.project_row,
            self.image_box,
            self.annotation_box,
            self.finetune_box,
            self.predict_box,
            self.history_box,
            self.objects_box,
        )
        self.guide = Guide(self.session, self.rounds)
        self._colours: Colours | None = None
        self.message_bar = MessageBar()
        self.fine_tune_button = self.finetune_box.fine_tune_button
        self.cancel_button = self.finetune_box.cancel_button
        self.predict_button = self.predict_box.predict_button
        self._lay_out()
        self.preference_sync.follow(self.findChildren(CollapsibleBox))
        self._dress()
        self._connect()
        self._load()
        self._refresh()
        self._count()
        if self.preference_sync.trouble:
            self._say(WARNING, self.preference_sync.trouble)

    def _lay_out(self) -> None:
        inner = QWidget()
        boxes = QVBoxLayout(inner)
        boxes.setContentsMargins(4, 4, 4, 4)
        boxes.setSpacing(4)
        for box in self._boxes:
            boxes.addWidget(box)
        boxes.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        # The guide and the message stay visible while the boxes scroll
        layout.addWidget(self.guide)
        layout.addWidget(scroll, 1)
        layout.addWidget(self.message_bar)
        self.setMinimumWidth(360)

    def _connect(self) -> None:
        self._count_soon = qdebounced(self._count, timeout=_TALLY_DELAY)
        self.session.annotations.painted.connect(self._on_painted)
        self.image_box.said.connect(self._say)
        self.image_box.failed.connect(self._on_fault)
        self.image_box.suggestion.requested.connect(self._actions.suggest)
        self.annotation_box.refused.connect(partial(self._say, ERROR))
        self.annotation_box.tools.refused.connect(partial(self._say, WARNING))
        self.annotation_box.tools.resolved.connect(self.message_bar.take_back)
        self.finetune_box.fine_tune_requested.connect(self._actions.fine_tune)
        self.finetune_box.keep_requested.connect(self._actions.stop_and_keep)
        self.finetune_box.cancel_requested.connect(self._actions.cancel)
        self.predict_box.predict_requested.connect(self._actions.predict)
        self.objects_box.said.connect(self._say)
        for teller in (self._actions, self.project_row, self.autosave, self.project_opener):
            teller.said.connect(self._say)
            teller.failed.connect(self._on_fault)
        self._relinker.failed.connect(self._on_fault)
        self.project_opener.shown.connect(self._go_to)
        self.preference_sync.said.connect(self._say)
        self.preference_sync.failed.connect(self._on_fault)
        self.rounds.show_requested.connect(self._actions.show_run)
        self.rounds.said.connect(self._say)
        self.rounds.failed.connect(self._on_fault)
        self.refiner.failed.connect(self._on_fault)
        self._actions.training_begun.connect(self.finetune_box.curve.begin)
        self._actions.progressed.connect(self.finetune_box.show_progress)
        self._actions.ended.connect(self.finetune_box.show_idle)
        self._actions.suggested.connect(self.image_box.suggestion.show_places)
        # If the window closes, Qt deletes the panel without sending it an event
        self.destroyed.connect(partial(_shut, self._ends))

    # --- short work in threads: importing PyTorch, counting what is painted

    def _load(self) -> None:
        # Importing PyTorch takes seconds. The dynamic loader holds the GIL for about 0.2 s of them, so even
        # from a thread the import freezes the window that long, once, while the panel opens.
        if "torch" in sys.modules:
            self.session.set_models(load_library())
        else:
            run_function(load_library, then=self._on_loaded, failed=self._on_fault)

    @Slot(object)
    def _on_loaded(self, models: tuple[ModelEntry, ...]) -> None:
        self.session.set_models(models)

    def _on_painted(self) -> None:
        self._count_soon()

    @Slot()
    def _count(self) -> None:
        if not self.session.closed:
            run_function(tally, self.session.painted(), then=self._on_counted, failed=self._on_fault)

    @Slot(object)
    def _on_counted(self, count: Tally) -> None:
        self.session.choose(tally=count)

    @Slot(object)
    def _on_fault(self, error: Exception) -> None:
        report_fault(self.message_bar, error)

    # --- the screen

    def _say(self, kind: str, text: str) -> None:
        self.message_bar.say(kind, text)

    @Slot()
    def _dress(self) -> None:
        """Follow napari's theme."""
        colours = colours_of(self.session.viewer.theme)
        if colours != self._colours:
            self._colours = colours
            self.setStyleSheet(style_sheet(colours))
            self.finetune_box.curve.set_colours(colours)

    @Slot(object)
    def _go_to(self, image: Image) -> None:
        self.image_box.navigator.to(image, current_plane(image, self.session.viewer.dims))

    def _refresh(self) -> None:
        self.guide.refresh()
        for box in self._boxes:
            box.refresh()

    def close_session(self) -> None:
        """Stop the job, wait for its thread and disconnect from the viewer; closing twice is fine."""
        self.image_box.suggestion.clear()
        self.predict_box.close_dialogs()
        _shut(self._ends)

    def event(self, event: QEvent) -> bool:
        """As Qt's. A panel without a parent was removed from its dock: close the session."""
        if event.type() == QEvent.Type.StyleChange and not self.session.closed:
            QTimer.singleShot(0, self._dress)  # later: Qt is still updating the widgets
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.close_session()
        return super().event(event)


def _shut(ends: Iterable[Callable[[], None]], *_: object) -> None:
    for end in ends:
        end()
