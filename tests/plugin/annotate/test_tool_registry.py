"""One registry entry makes a tool: its button, key, tooltip and reason, and what it paints."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_fewshot_cells.plugin.annotate import tool_registry
from napari_fewshot_cells.plugin.annotate.corrections import paint
from napari_fewshot_cells.plugin.annotate.tool_registry import Tool, register_tool, registered_tools
from napari_fewshot_cells.plugin.annotate.touch import Touch

from .test_corrections import Canvas


def stamp(touch: Touch) -> None:
    """Paint 5 × 5 pixels as background."""
    ((row, column),) = touch.pixels_on(touch.labels)
    shape = np.zeros(touch.painted.shape, bool)
    shape[round(row) - 2 : round(row) + 3, round(column) - 2 : round(column) + 3] = True
    paint(touch, shape, 1, "the stamp")


STAMP = Tool("Stamp", "T", "Click where a square of background is to be.", stamp, paints_background=True)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the registry after each test."""
    monkeypatch.setattr(tool_registry, "_tools", dict(tool_registry._tools))


def test_the_tools_of_the_panel() -> None:
    rows: dict[int, list[str]] = {}
    for tool in registered_tools():
        rows.setdefault(tool.row, []).append(f"{tool.name} {tool.key}")
    assert rows == {
        0: ["Cell C", "Background G", "Erase E"],
        1: ["Fill contour D", "Annotate box S"],
        2: ["Accept object A", "Reject object R"],
    }


@pytest.mark.parametrize("change", [{"name": "Cell"}, {"key": "C"}])
def test_names_and_keys_are_given_once(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="needs another name or key: 'Cell' has C"):
        register_tool(replace(STAMP, **change))


def test_a_registered_tool_has_a_button_a_key_a_tip_and_a_reason(open_panel: Any, qtbot: Any) -> None:
    register_tool(STAMP)
    viewer, panel = open_panel()
    box = panel.annotation_box
    button = box.tool_buttons["Stamp"]
    assert not button.isEnabled()
    assert button.toolTip() == "Open an image first."
    image = viewer.add_image(np.zeros((60, 80), np.float32), name="photo")
    panel.window().resize(1366, 768)
    box.new_button.click()
    qtbot.wait(100)
    assert button.isEnabled()
    assert button.toolTip() == f"{STAMP.tip}\nKey: T, while the annotation layer is active"
    assert [label.text() for label in button.findChildren(QLabel)] == ["T"]

    canvas, annotation = Canvas(viewer, image, qtbot), panel.session.annotation.layer
    qtbot.keyClick(canvas.widget, Qt.Key.Key_T)
    assert button.isChecked()
    canvas.click(30, 40)
    expected = np.zeros((60, 80), int)
    expected[28:33, 38:43] = 1
    assert np.array_equal(annotation.data, expected)
    canvas.click(30, 40)
    assert "All of the stamp is annotated already" in panel.message_bar.text
    annotation.undo()
    assert not annotation.data.any()
    panel.session.annotations.set_whole_image(image, True)
    assert not button.isEnabled()
    assert "unpainted pixels are background" in button.toolTip()
    assert not button.isChecked()
