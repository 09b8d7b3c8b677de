"""The panel as a person sees it: on a small screen, in both themes, with a tooltip on every control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QRect, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QWidget,
)

from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.plugin.annotate.tool_registry import registered_tools
from napari_fewshot_cells.plugin.session.messages import DONE, ERROR, INFO, WARNING
from napari_fewshot_cells.plugin.widgets.theme_colours import READABLE, colours_of, contrast, readable
from napari_fewshot_cells.prediction.predict_files import FileReport

from ..conftest import PATIENCE

LONG = Recipe(steps=10_000, crops=1, crop_size=64)
CONTROLS = (
    QAbstractButton,
    QComboBox,
    QAbstractSpinBox,
    QAbstractSlider,
    QAbstractItemView,
    QLineEdit,
)
INSIDE = ("QTableCornerButton", "QComboBoxListView", "QHeaderView")  # parts that Qt itself adds to controls


def states(
    panel: Any,
    viewer: Any,
    qtbot: Any,
    image: np.ndarray,
    painted: np.ndarray,
    wait_idle: Callable[..., None],
) -> Iterator[str]:
    """Bring the panel from an empty viewer to a training and its result; yield the name of each state."""
    yield "empty"
    viewer.add_image(image, name="an image with quite a long name, as files of microscopes have")
    yield "image only"
    panel.annotation_box.new_button.click()
    layer = panel.session.annotation.layer
    yield "annotation"
    layer.data[...] = painted
    layer.refresh()
    qtbot.waitUntil(lambda: panel.session.tally.background, timeout=PATIENCE)
    yield "painted"
    panel.fine_tune_button.click()
    qtbot.waitUntil(lambda: len(panel.finetune_box.curve.losses) > 2, timeout=PATIENCE)
    yield "running"
    panel.finetune_box.keep_button.click()
    wait_idle(panel)
    yield "result"


# --- a tooltip on everything


def controls_of(window: QWidget) -> list[QWidget]:
    """Visible controls that can be clicked, dragged or typed into, without the parts that Qt adds."""
    found = [child for child in window.findChildren(QWidget) if isinstance(child, CONTROLS)]
    return [
        control
        for control in found
        if control.isVisibleTo(window)
        and not isinstance(control, QScrollBar)
        and control.metaObject().className() not in INSIDE
        and "Header" not in control.metaObject().className()
    ]


def tooltip_of(control: QWidget, window: QWidget) -> str:
    """The tooltip that Qt shows: the control's own, or else its nearest parent's."""
    while control is not window and not control.toolTip():
        control = control.parentWidget()
    return "" if control is window else control.toolTip()


@pytest.mark.both_bindings
def test_every_control_says_what_it_does_or_why_it_does_not(
    open_panel: Any, qtbot: Any, quick_start: Any, disc_image: Any, annotated: Any, wait_idle: Any
) -> None:
    viewer, panel = open_panel(recipe=LONG)
    tooltips: dict[QPushButton, dict[bool, set[str]]] = {}
    seen_off: set[str] = set()

    def check(state: str, window: QWidget) -> None:
        silent = [c for c in controls_of(window) if not tooltip_of(c, window).strip()]
        assert silent == [], f"{state}: {[(type(c).__name__, c.parentWidget()) for c in silent]}"
        for button in (c for c in controls_of(window) if isinstance(c, QPushButton)):
            by_state = tooltips.setdefault(button, {True: set(), False: set()})
            by_state[button.isEnabled()].add(button.toolTip())
            if not button.isEnabled():
                seen_off.add(button.text())
                assert button.toolTip().endswith("."), f"{state}: {button.text()}: {button.toolTip()}"

    panel.finetune_box.options.open(True)
    for state in states(panel, viewer, qtbot, disc_image[0], annotated, wait_idle):
        check(state, panel)
    panel.objects_box.table_button.click()
    check("table", panel.objects_box.table)
    panel.predict_box.batch_button.click()
    check("batch", panel.predict_box.batch_dialog)
    panel.predict_box.library_button.click()
    dialog = panel.predict_box.library_dialog
    check("library, reading", dialog)
    qtbot.waitUntil(lambda: bool(dialog.table.rows) and dialog.import_button.isEnabled(), timeout=PATIENCE)
    for row in (0, 2):
        dialog.table.selectRow(row)
        check("library", dialog)
    for button, tips in tooltips.items():
        assert tips[True].isdisjoint(tips[False]), button.text()
    assert {"Fine-tune on current annotations", "Predict", "Cancel", "Start", "Rename…", "Reset"} <= seen_off
    wait_idle(panel)


def test_keys_are_shown_on_the_buttons(open_panel: Any) -> None:
    _, panel = open_panel()
    keys = {tool.name: tool.key for tool in registered_tools()}
    assert len(keys) == 7
    for name, button in panel.annotation_box.tool_buttons.items():
        (key,) = button.findChildren(QLabel)
        assert key.text() == keys[name]
        assert f"Key: {key.text()}" in button.toolTip() or not button.isEnabled()


# --- on a small screen


def sideways(widget: QWidget) -> bool:
    """Whether a label or a button is narrower than its text."""
    if isinstance(widget, QLabel) and widget.wordWrap():
        return widget.heightForWidth(widget.width()) > widget.height()
    return widget.sizeHint().width() > widget.width()


@pytest.mark.both_bindings
def test_the_work_fits_on_a_small_screen(
    open_panel: Any, qtbot: Any, quick_start: Any, disc_image: Any, annotated: Any, wait_idle: Any
) -> None:
    viewer, panel = open_panel(recipe=LONG)
    window, scroll = panel.window(), panel.findChild(QScrollArea)
    window.resize(1366, 768)
    window.show()
    qtbot.waitUntil(panel.isVisible, timeout=PATIENCE)
    for state in states(panel, viewer, qtbot, disc_image[0], annotated, wait_idle):
        qtbot.wait(150)
        assert (window.width(), window.height()) == (1366, 768)
        assert scroll.widget().width() <= scroll.viewport().width(), state
        shown = [w for w in panel.findChildren(QLabel) + panel.findChildren(QPushButton) if w.isVisible()]
        clipped = [(w.text(), w.sizeHint().width(), w.width()) for w in shown if w.text() and sideways(w)]
        assert clipped == [], state
        if state != "result":  # the result adds a run to the history, which may scroll the panel
            assert scroll.verticalScrollBar().value() == 0
        for button in (panel.fine_tune_button, panel.cancel_button):
            corner = button.mapTo(scroll.viewport(), QPoint(0, 0))
            assert scroll.viewport().rect().contains(QRect(corner, button.size())), (state, button.text())
        assert panel.guide.isVisible()
    assert panel.message_bar.isVisible()  # wherever the boxes are scrolled to
    panel.message_bar.say(INFO, "")
    for n in range(6):
        viewer.add_image(disc_image[0], name=f"image {n}")
    qtbot.wait(150)
    corner = panel.fine_tune_button.mapTo(scroll.viewport(), QPoint(0, 0))
    assert scroll.viewport().rect().contains(QRect(corner, panel.fine_tune_button.size()))


def test_a_box_is_closed_and_opened_by_its_heading(open_panel: Any, qtbot: Any) -> None:
    _, panel = open_panel()
    panel.window().show()
    panel.session.choose(start=panel.session.models[0])
    options = panel.finetune_box.options
    assert not options.isExpanded()
    assert options.heading.text() == "▸  Options:  Half U-Net, cell diameter auto"
    assert not panel.finetune_box.start_choice.isVisible()
    qtbot.mouseClick(options.heading, Qt.MouseButton.LeftButton)
    assert options.heading.text() == "▾  Options"
    assert panel.finetune_box.start_choice.isVisible()
    panel.session.choose(diameter=30.0)
    qtbot.mouseClick(options.heading, Qt.MouseButton.LeftButton)
    assert "cell diameter 30 px" in options.heading.text()


# --- in both themes


def seen_contrast(window: QWidget, widget: QWidget) -> float:
    """Contrast between the background of a text and the pixels that differ most from it."""
    corner = widget.mapTo(window, QPoint(0, 0))
    picture = window.grab(QRect(corner, widget.size())).toImage()
    middle = picture.copy(picture.rect().adjusted(3, 3, -3, -3))
    colours = Counter(
        middle.pixelColor(x, y).name() for x in range(middle.width()) for y in range(middle.height())
    )
    ground = colours.most_common(1)[0][0]
    return max(contrast(colour, ground) for colour in colours)


@pytest.mark.both_bindings
def test_texts_are_readable_in_both_themes_also_when_it_is_switched(
    open_panel: Any, qtbot: Any, quick_start: Any, fine_tuned: Any, disc_image: Any
) -> None:
    viewer, panel = open_panel()
    panel.window().resize(1366, 768)
    panel.window().show()
    viewer.add_image(disc_image[0], name="discs")
    panel.annotation_box.new_button.click()
    panel.finetune_box.curve.add(1, 0.5)
    panel.predict_box.batch_button.click()
    batch = panel.predict_box.batch_dialog
    files = (Path("a.tif"), Path("b.tif"), Path("c.tif"))
    batch.table.begin(files)
    for file, status in zip(files, ("done", "skipped", "failed"), strict=True):
        batch.table.add(FileReport(file, status, 3, 1.0, "why"))
    for theme in ("light", "dark"):
        viewer.theme = theme
        colours = colours_of(theme)
        qtbot.waitUntil(lambda colours=colours: panel._colours == colours, timeout=PATIENCE)
        qtbot.wait(200)
        box = panel.annotation_box
        for window, widget in (
            (panel, panel.guide),
            (panel, panel.image_box.facts),
            (panel, panel.finetune_box.options.heading),
            (panel, panel.finetune_box.step.heading),
            (panel, panel.fine_tune_button),
            (panel, box.status),
            (panel, box.tool_buttons["Cell"]),
            (panel, box.tool_buttons["Background"]),
            (batch, batch.choices.objects),
            (batch, batch.close_button),
        ):
            if window is panel:
                panel.findChild(QScrollArea).ensureWidgetVisible(widget)
                qtbot.wait(30)
            text = widget.text()
            assert seen_contrast(window, widget) >= 4, (theme, text)
        for kind in (INFO, DONE, WARNING, ERROR):
            panel.message_bar.say(kind, "What was said of it, in words")
            qtbot.wait(50)
            assert seen_contrast(panel, panel.message_bar.findChildren(QLabel)[1]) >= READABLE, (theme, kind)
        axis = panel.finetune_box.curve.getAxis("left")
        assert contrast(axis.textPen().color().name(), colours.ground) >= READABLE
        line = panel.finetune_box.curve.listDataItems()[0].opts["pen"].color().name()
        assert contrast(line, colours.ground) >= 3
        for row in range(3):
            colour = batch.table.data(batch.table.index(row, 1), Qt.ItemDataRole.ForegroundRole)
            assert contrast(colour.name(), colours.ground) >= READABLE, (theme, row)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert readable("#000000", "#ffffff", "#000000") == "#000000"
    assert contrast(readable("#3a9d5d", "#dddad8", "#1e1e21"), "#dddad8") >= READABLE
    for theme in ("dark", "light"):
        colours = colours_of(theme)
        assert contrast(colours.hint, colours.ground) >= READABLE
        assert contrast(colours.hint, colours.ground) < contrast(colours.text, colours.ground)
