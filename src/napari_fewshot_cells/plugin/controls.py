"""Small things that every box of the panel needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QGroupBox, QLabel, QSizePolicy, QVBoxLayout, QWidget

_HINT = "color: gray;"


def set_enabled(widget: QWidget, reason: str | None, tip: str) -> None:
    """Enable a control and say what it does, or disable it and say why."""
    widget.setEnabled(reason is None)
    widget.setToolTip(reason or tip)


def group(title: str) -> tuple[QGroupBox, QVBoxLayout]:
    """A titled box of the panel, with the layout to fill."""
    box = QGroupBox(title)
    layout = QVBoxLayout(box)
    layout.setContentsMargins(10, 6, 10, 8)
    layout.setSpacing(6)
    return box, layout


def form() -> QFormLayout:
    """Labels on the left, fields that take all the room on the right."""
    layout = QFormLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setVerticalSpacing(6)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    layout.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    return layout


def hint(text: str = "") -> QLabel:
    """A line of small print that wraps."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setStyleSheet(_HINT)
    return label


def choice() -> QComboBox:
    """A list to choose from that never widens the panel for a long name."""
    combo = QComboBox()
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(12)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return combo


def fill(combo: QComboBox, options: Sequence[tuple[str, Any]], chosen: Any) -> None:
    """Show options, each a text and what it stands for, and the chosen one, without emitting signals."""
    combo.blockSignals(True)
    if [(combo.itemText(i), combo.itemData(i)) for i in range(combo.count())] != list(options):
        combo.clear()
        for text, value in options:
            combo.addItem(text, value)
            combo.setItemData(combo.count() - 1, text, Qt.ItemDataRole.ToolTipRole)
    values = [value for _, value in options]
    combo.setCurrentIndex(values.index(chosen) if chosen in values else -1)
    combo.blockSignals(False)
