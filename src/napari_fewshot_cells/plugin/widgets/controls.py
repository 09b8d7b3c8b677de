"""Functions that make and set the controls of the panel's boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from .collapsible_box import CollapsibleBox

_KEY_SIZE = 9  # px
_LABEL_WIDTH = 96  # px, for "Cell diameter" in napari's font


def set_enabled(widget: QWidget, reason: str | None, tip: str) -> None:
    """Enable a control with a tooltip, or disable it with the reason as tooltip."""
    widget.setEnabled(reason is None)
    widget.setToolTip(reason or tip)


def group(title: str) -> tuple[CollapsibleBox, QVBoxLayout]:
    """A framed box with a bold title, and the layout of its content."""
    box = CollapsibleBox(title)
    return box, box.inside


def form(*rows: tuple[str, QWidget]) -> QFormLayout:
    """Labels on the left, equally wide in every box; fields on the right take the remaining width."""
    layout = QFormLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setVerticalSpacing(6)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for text, field in rows:
        label = QLabel(text)
        label.setMinimumWidth(_LABEL_WIDTH)
        layout.addRow(label, field)
    return layout


def hint(text: str = "") -> QLabel:
    """A label in small print that wraps; its colour follows the theme."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setObjectName("hint")
    return label


def dialog_button(text: str, act: Callable[[], object]) -> QPushButton:
    """A button of a dialog; pressing Enter in a table or a line does not press it."""
    button = QPushButton(text)
    button.setAutoDefault(False)
    button.clicked.connect(act)
    return button


def button_with_key(text: str, key: str) -> QPushButton:
    """A checkable button, with its key in small print at the right."""
    button = QPushButton(text)
    button.setCheckable(True)
    small = QLabel(key)
    small.setStyleSheet(f"font-size: {_KEY_SIZE}px; background: transparent;")
    small.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
    layout = QHBoxLayout(button)
    layout.setContentsMargins(0, 0, 5, 0)
    layout.addWidget(small, 0, Qt.AlignmentFlag.AlignRight)
    return button


def choice() -> QComboBox:
    """A combo box; long names do not widen the panel."""
    combo = QComboBox()
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(12)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return combo


def fill(combo: QComboBox, options: Sequence[tuple[str, Any]], chosen: Any) -> None:
    """Set the options, each a text and its value, and the chosen value, without emitting signals."""
    combo.blockSignals(True)
    if [(combo.itemText(i), combo.itemData(i)) for i in range(combo.count())] != list(options):
        combo.clear()
        for text, value in options:
            combo.addItem(text, value)
            combo.setItemData(combo.count() - 1, text, Qt.ItemDataRole.ToolTipRole)
    values = [value for _, value in options]
    combo.setCurrentIndex(values.index(chosen) if chosen in values else -1)
    combo.blockSignals(False)
