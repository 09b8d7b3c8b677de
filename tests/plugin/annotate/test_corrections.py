"""Corrections of a prediction in the window, by real clicks, drags and keys on the canvas and the panel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import napari
import numpy as np
import pytest
from app_model.types import KeyBinding
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_fewshot_cells.plugin.annotate.tool_registry import ACCEPT, BOX, REJECT, registered_tools
from napari_fewshot_cells.plugin.layers.brushes import CELL, CONTOUR
from napari_fewshot_cells.plugin.layers.plane_source import PlaneResult
from napari_fewshot_cells.plugin.session.messages import WARNING

from ..conftest import PATIENCE

KEYS = {tool.name: tool.key for tool in registered_tools() if not tool.napari_binds_key}


class Canvas:
    """The canvas of a viewer; positions are pixels of a layer."""

    def __init__(self, viewer: Any, layer: Any, qtbot: Any) -> None:
        self._canvas = (
            viewer.__wrapped__.window._qt_viewer.canvas
        )  # behind the proxy that napari gives to plugins
        self._layer, self._qtbot = layer, qtbot
        self.widget: QWidget = self._canvas.native

    def at(self, *pixel: float) -> QPoint:
        y, x = self._layer.data_to_world(pixel)[-2:]
        transform = self._canvas.view.transform * self._canvas.view.scene.transform
        mapped = transform.map([x, y, 0, 1])
        return QPoint(*(round(float(part)) for part in mapped[:2] / mapped[3]))

    def click(self, *pixel: float) -> None:
        self._qtbot.mouseClick(self.widget, Qt.MouseButton.LeftButton, pos=self.at(*pixel))

    def drag(self, *pixels: tuple[float, ...]) -> None:
        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        self._send(QEvent.Type.MouseButtonPress, pixels[0], left, left)
        for pixel in pixels[1:]:
            self._send(QEvent.Type.MouseMove, pixel, none, left)
        self._send(QEvent.Type.MouseButtonRelease, pixels[-1], left, none)

    def _send(self, kind: Any, pixel: tuple[float, ...], button: Any, held: Any) -> None:
        place = QPointF(self.at(*pixel))
        everywhere = self.widget.mapToGlobal(place)
        event = QMouseEvent(kind, place, everywhere, button, held, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(self.widget, event)


@pytest.fixture
def corrected(open_panel: Any, qtbot: Any, disc_image: Any) -> Any:
    """A viewer with six discs and their prediction, its panel and its canvas."""
    viewer, panel = open_panel()
    grey, labels = disc_image
    image = viewer.add_image(grey, name="discs", scale=(0.5, 0.5), translate=(3, 7))
    found = np.where(labels, labels - 1, 0).astype(np.int32)
    table = {"index": np.arange(1, 7), "area": np.full(6, 450.0)}
    panel.session.show(PlaneResult(panel.session.source(image), found, table, {"model": "ready"}))
    panel.window().resize(1366, 768)
    qtbot.wait(100)
    return viewer, panel, Canvas(viewer, image, qtbot)


@pytest.fixture
def quick_clicks() -> Iterator[int]:
    """Set a double-click interval of 20 ms, so that a test hardly waits between two single clicks."""
    before = QApplication.doubleClickInterval()
    QApplication.setDoubleClickInterval(20)
    yield 20
    QApplication.setDoubleClickInterval(before)


def press(qtbot: Any, panel: Any, name: str) -> None:
    button = panel.annotation_box.tool_buttons[name]
    assert button.isEnabled(), button.toolTip()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def status_becomes(qtbot: Any, panel: Any, text: str) -> None:
    qtbot.waitUntil(lambda: panel.annotation_box.status.text() == text, timeout=PATIENCE)


@pytest.mark.both_bindings
def test_accepted_rejected_boxed_and_undone(corrected: Any, qtbot: Any, disc_image: Any) -> None:
    _, panel, canvas = corrected
    truth = disc_image[1]
    buttons = panel.annotation_box.tool_buttons
    press(qtbot, panel, ACCEPT)
    assert buttons[ACCEPT].isChecked()
    annotation = panel.session.annotation.layer
    canvas.click(40, 30)
    canvas.click(120, 100)
    assert np.array_equal(annotation.data, np.where(truth == 2, 2, np.where(truth == 6, 3, 0)))
    status_becomes(qtbot, panel, "1 image: 2 cells, no background yet")

    qtbot.keyClick(buttons[ACCEPT], Qt.Key.Key_R)  # the focus stays where the last click was
    assert buttons[REJECT].isChecked()
    assert not buttons[ACCEPT].isChecked()
    canvas.click(40, 170)
    assert np.array_equal(annotation.data == 1, truth == 4)

    qtbot.keyClick(canvas.widget, Qt.Key.Key_S)
    assert buttons[BOX].isChecked()
    before = annotation.data.copy()
    canvas.drag((20, 10), (30, 40), (79, 60))
    ours = np.zeros(truth.shape, bool)
    ours[20:80, 10:61] = True
    edge = np.zeros(truth.shape, bool)  # a screen pixel is about one image pixel, so leave out a margin
    edge[18:82, 8:63], edge[22:78, 12:59] = True, False
    assert np.array_equal(annotation.data[~edge], np.where((before == 0) & ours, 1, before)[~edge])
    assert (annotation.data == 2).sum() == (truth == 2).sum()
    status_becomes(qtbot, panel, "1 image: 2 cells, background painted")

    for _ in range(2):
        qtbot.keyClick(canvas.widget, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    status_becomes(qtbot, panel, "1 image: 2 cells, no background yet")
    qtbot.keyClick(canvas.widget, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    status_becomes(qtbot, panel, "1 image: 1 cell, no background yet")


def test_a_click_beside_an_object_is_reported_until_a_click_hits(corrected: Any, qtbot: Any) -> None:
    _, panel, canvas = corrected
    press(qtbot, panel, ACCEPT)
    canvas.click(80, 65)
    assert panel.message_bar.kind == WARNING
    assert "There is no predicted object" in panel.message_bar.text
    canvas.click(40, 30)
    assert panel.message_bar.text == ""


def test_contours_by_mouse_are_cells_of_their_own(corrected: Any, qtbot: Any, quick_clicks: int) -> None:
    _, panel, canvas = corrected
    panel.annotation_box.new_button.click()
    press(qtbot, panel, CONTOUR)
    annotation = panel.session.annotation.layer
    for left in (20, 60):
        for pixel in ((50, left), (50, left + 40), (90, left + 40), (90, left)):
            qtbot.mouseMove(canvas.widget, canvas.at(*pixel))
            canvas.click(*pixel)
            qtbot.wait(2 * quick_clicks)
        qtbot.keyClick(canvas.widget, Qt.Key.Key_Return)
    assert [int(annotation.data[70, column]) for column in (40, 80)] == [2, 3]
    status_becomes(qtbot, panel, "1 image: 2 cells, no background yet")


@pytest.mark.parametrize("tool", [ACCEPT, BOX])
def test_closing_the_panel_ends_the_tool(corrected: Any, qtbot: Any, tool: str) -> None:
    viewer, panel, canvas = corrected
    panel.annotation_box.new_button.click()
    annotation = panel.session.annotation.layer
    press(qtbot, panel, tool)
    viewer.window.remove_dock_widget(panel)
    assert not annotation.keymap
    canvas.click(40, 30)
    canvas.drag((20, 10), (30, 40), (79, 60))
    qtbot.keyClick(canvas.widget, Qt.Key.Key_C)
    assert not annotation.data.any()
    assert annotation.mode == "pan_zoom"
    assert annotation.mouse_pan


def test_removing_the_annotation_layer_ends_the_tool(corrected: Any, qtbot: Any) -> None:
    viewer, panel, canvas = corrected
    press(qtbot, panel, REJECT)
    annotation = panel.session.annotation.layer
    viewer.layers.remove(annotation)
    assert not panel.annotation_box.tool_buttons[REJECT].isChecked()
    canvas.click(40, 30)
    assert not annotation.data.any()
    press(qtbot, panel, REJECT)  # makes another layer
    canvas.click(40, 30)
    assert panel.session.annotation.layer.data.any()


def test_no_key_is_bound_by_napari(corrected: Any) -> None:
    napari_s = {*Labels.class_keymap, *ViewerModel.class_keymap, *napari.Viewer.class_keymap}
    assert {
        KeyBinding.from_str("E"),
        KeyBinding.from_str("V"),
    } <= napari_s  # the Erase button shows E
    assert not napari_s & {KeyBinding.from_str(key) for key in KEYS.values()}


def test_buttons_say_their_keys_and_do_not_widen_the_panel(corrected: Any, qtbot: Any) -> None:
    _, panel, canvas = corrected
    panel.annotation_box.new_button.click()
    for name, key in KEYS.items():
        assert f"Key: {key}," in panel.annotation_box.tool_buttons[name].toolTip()
        qtbot.keyClick(canvas.widget, getattr(Qt.Key, f"Key_{key}"))
        assert panel.annotation_box.tools.in_hand == name
    assert panel.annotation_box.tool_buttons[CELL].isEnabled()
    assert panel.minimumSizeHint().width() <= 360
    assert panel.annotation_box.minimumSizeHint().width() <= 340
