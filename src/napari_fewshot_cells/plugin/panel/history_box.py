"""Box "History": the runs of this session and the scores of their models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..session.disabled_reasons import reason_running
from ..session.history import Run
from ..session.rounds import Rounds
from ..session.session import Session
from ..widgets.controls import group, hint, set_enabled

_ROWS = 4
_MODEL = Qt.ItemDataRole.UserRole


class HistoryBox(QWidget):
    """Hidden until there is a run. A click shows a run's prediction; *Restore* makes its model current."""

    def __init__(self, session: Session, rounds: Rounds) -> None:
        super().__init__()
        self._session, self._rounds = session, rounds
        box, layout = group("History")
        self.list = QTreeWidget()
        self.list.setHeaderLabels(("Trained", "Images", "Score"))
        self.list.setRootIsDecorated(False)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.list.header()
        for column in (0, 1):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        row = self.list.fontMetrics().height() + 6
        self.list.setFixedHeight(row * (_ROWS + 1) + 8)
        self.list.itemClicked.connect(self._compare)
        self.list.itemActivated.connect(self._compare)
        self.list.currentItemChanged.connect(self.refresh)
        self.score_line, self.shown_line = hint(), hint()
        self.restore_button = QPushButton("Restore")
        self.restore_button.clicked.connect(self._restore)
        self.skip_button = QPushButton("Stop measuring")
        self.skip_button.clicked.connect(rounds.skip_score)
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        buttons.addWidget(self.restore_button, 1)
        buttons.addWidget(self.skip_button, 1)
        self.offer, self.offer_line = QFrame(), hint()
        self.new_button, self.old_button = QPushButton("Use the new one"), QPushButton("Keep the old one")
        self.new_button.clicked.connect(self._use_new)
        self.old_button.clicked.connect(rounds.keep_old)
        self._lay_out_offer()
        for widget in (self.offer, self.list, self.score_line, self.shown_line):
            layout.addWidget(widget)
        layout.addLayout(buttons)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(box)
        rounds.history.changed.connect(self.refresh)
        rounds.changed.connect(self.refresh)
        session.any_of("models", "model", "loading", "running", "image", "view").connect(self.refresh)
        self.refresh()

    def _lay_out_offer(self) -> None:
        choices = QHBoxLayout()
        choices.setSpacing(4)
        choices.addWidget(self.new_button, 1)
        choices.addWidget(self.old_button, 1)
        layout = QVBoxLayout(self.offer)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.offer_line)
        layout.addLayout(choices)

    @property
    def chosen(self) -> str | None:
        """Name of the model in the selected row; None if no row is selected."""
        item = self.list.currentItem()
        return None if item is None else item.data(0, _MODEL)

    def refresh(self, *_: Any) -> None:
        history, session = self._rounds.history, self._session
        self.setVisible(bool(history.runs))
        if not history.runs:
            return
        busy = reason_running(session)
        set_enabled(self.list, busy, "Click a run to see its prediction. The model in use does not change.")
        self._fill()
        in_use = session.model.name if session.model else None
        chosen = self.chosen
        reason = self._rounds.reason_disabled(chosen)
        if chosen is not None and chosen == in_use:
            reason = "This model is in use."
        set_enabled(self.restore_button, reason, "Use this model from now on")
        idle = None if self._rounds.measuring else "Nothing is being measured."
        set_enabled(self.skip_button, idle, "Leave this model without a score")
        run = history.run(chosen or in_use) or history.runs[-1]
        _set_text(self.score_line, f"{_when(run)}: {self._score(run)}")
        shown = history.run(history.shown)
        elsewhere = shown is not None and in_use is not None and shown.model != in_use
        using = history.run(in_use)
        _set_text(
            self.shown_line,
            f"Shown: the run of {_when(shown)}. In use: the run of {_when(using)}."
            if elsewhere and shown and using
            else "",
        )
        self._refresh_offer(busy)

    def _refresh_offer(self, busy: str | None) -> None:
        offered = self._rounds.history.offered
        self.offer.setVisible(offered is not None)
        if offered is None:
            return
        _set_text(self.offer_line, "The new model agrees less with your annotation. Click a run to compare.")
        set_enabled(self.new_button, busy, f"Use '{offered}' and show its prediction")
        in_use = self._session.model
        set_enabled(self.old_button, busy, f"Keep using '{in_use.name if in_use else 'none'}'")

    def _fill(self) -> None:
        """List the runs, newest first. If another run is shown than before, select its row."""
        history = self._rounds.history
        in_use = self._session.model.name if self._session.model else None
        rows = [(run, self._texts(run, in_use)) for run in reversed(history.runs)]
        if [item.data(0, _MODEL) for item in self._items()] != [
            run.model for run, _ in rows
        ] or history.shown != self.list.property("shown"):
            self.list.blockSignals(True)
            self.list.clear()
            for run, _ in rows:
                item = QTreeWidgetItem()
                item.setData(0, _MODEL, run.model)
                self.list.addTopLevelItem(item)
                if run.model == history.shown:
                    self.list.setCurrentItem(item)
            self.list.setProperty("shown", history.shown)
            self.list.blockSignals(False)
        for item, (run, texts) in zip(self._items(), rows, strict=True):
            for column, text in enumerate(texts):
                if item.text(column) != text:
                    item.setText(column, text)
                item.setToolTip(column, f"{run.model}\n{', '.join(run.shots)}\n{self._score(run)}")

    def _items(self) -> list[QTreeWidgetItem]:
        items = (self.list.topLevelItem(number) for number in range(self.list.topLevelItemCount()))
        return [item for item in items if item is not None]

    def _texts(self, run: Run, in_use: str | None) -> tuple[str, str, str]:
        mark = "● " if run.model == in_use else ""
        return mark + _when(run), str(run.k_shot), run.short or run.score[:20]

    def _score(self, run: Run) -> str:
        newest = run == self._rounds.history.runs[-1]
        if newest and self._rounds.measuring:
            return f"{self._rounds.measuring} (you can go on working)"
        return run.score or "not measured"

    def _compare(self, item: QTreeWidgetItem, *_: Any) -> None:
        self._rounds.compare(item.data(0, _MODEL))

    def _restore(self) -> None:
        if self.chosen is not None:
            self._rounds.restore(self.chosen)

    def _use_new(self) -> None:
        offered = self._rounds.history.offered
        if offered is not None:
            self._rounds.restore(offered)


def _set_text(label: Any, text: str) -> None:
    if label.text() != text:  # a new text lays out the whole panel
        label.setText(text)
    label.setVisible(bool(text))


def _when(run: Run) -> str:
    """Time of day of a run; with the date if it was not today."""
    if not run.date:
        return run.model
    moment = datetime.fromisoformat(run.date).astimezone()
    today = moment.date() == datetime.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")
