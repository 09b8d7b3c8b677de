"""A part of the panel that closes: by mouse and keyboard, and it grows with what is inside."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QLineEdit, QVBoxLayout, QWidget

from napari_fewshot_cells.plugin.widgets.collapsible_box import CollapsibleBox


@pytest.fixture
def window(qtbot: QtBot) -> QWidget:
    window = QWidget()
    qtbot.addWidget(window)
    return window


@pytest.fixture
def box(window: QWidget, qtbot: QtBot) -> CollapsibleBox:
    """In a window with a line below it."""
    box, layout = CollapsibleBox("5  Objects"), QVBoxLayout(window)
    box.inside.addWidget(QLineEdit())
    layout.addWidget(box)
    layout.addWidget(QLineEdit())
    layout.addStretch(1)
    window.show()
    qtbot.waitExposed(window)
    return box


def test_a_click_and_the_keyboard_close_and_open_it(box: CollapsibleBox, qtbot: QtBot) -> None:
    told: list[bool] = []
    box.toggled.connect(told.append)
    box.summarise("threshold 0.5")
    assert (box.name, box.heading.text()) == ("Objects", "▾  5  Objects")
    qtbot.mouseClick(box.heading, Qt.MouseButton.LeftButton)
    assert box.heading.text() == "▸  5  Objects:  threshold 0.5"
    assert box.heading.toolTip() == "Open this part of the panel"
    assert box.heading.focusPolicy() == Qt.FocusPolicy.TabFocus
    qtbot.keyClick(box.heading, Qt.Key.Key_Space)
    assert box.heading.text() == "▾  5  Objects"
    assert told == [False, True]


def test_what_is_closed_takes_no_room_and_no_focus(box: CollapsibleBox, qtbot: QtBot) -> None:
    line = box.findChild(QLineEdit)
    height = box.height()
    box.open(False)
    qtbot.waitUntil(lambda: box.height() < height)
    assert not line.isVisible()
    box.open(True)
    qtbot.waitUntil(lambda: box.height() == height)
    assert line.isVisible()


def test_what_is_added_later_is_not_cut_off(box: CollapsibleBox, qtbot: QtBot) -> None:
    later = QLabel("\n".join(map(str, range(12))))
    inner = QVBoxLayout()
    inner.addWidget(later)
    box.inside.addLayout(inner)
    qtbot.waitUntil(lambda: later.height() >= later.sizeHint().height())
