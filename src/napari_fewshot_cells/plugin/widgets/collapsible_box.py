"""A part of the panel that can be closed, so that the rest fits on a small screen."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout
from superqt import QCollapsible

_FRAME = "QFrame#step { border: 1px solid rgba(128, 128, 128, 70); border-radius: 6px; }"
_NO_LIMIT = 2**24 - 1  # px, Qt's QWIDGETSIZE_MAX


class CollapsibleBox(QCollapsible):
    """A heading that opens and closes its content. A box without a frame is part of another box.

    Attributes
    ----------
    name : str
        The title without its number. The preferences store under it whether the box is closed.
    heading : QPushButton
    inside : QVBoxLayout
        The layout of the content.
    """

    def __init__(self, title: str, *, framed: bool = True) -> None:
        icon = QIcon(QPixmap(1, 1))  # `_show` removes it; PySide6 treats a null icon as false
        super().__init__(title, expandedIcon=icon, collapsedIcon=icon)
        self.name = title.lstrip("0123456789 ")
        self._title, self._summary = title, ""
        self.setObjectName("step" if framed else "part")
        self.setStyleSheet(_FRAME)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setDuration(0)
        self.heading = self.toggleButton()
        self.heading.setObjectName("heading" if framed else "subheading")
        self.heading.setStyleSheet("")  # the panel's style sheet shows the keyboard focus
        self.heading.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.heading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        inside, outside = self.content().layout(), self.layout()
        assert isinstance(inside, QVBoxLayout), "superqt gives the content a QVBoxLayout"
        assert outside is not None, "superqt gives every box a layout"
        self.inside = inside
        self.inside.setContentsMargins(0, 0, 0, 0)
        self.inside.setSpacing(6)
        margins = (10, 4, 10, 8) if framed else (0, 0, 0, 0)
        outside.setContentsMargins(*margins)
        outside.setSpacing(4)
        self.toggled.connect(self._show)
        self.expand()

    def open(self, opened: bool) -> None:
        """Show or hide the content."""
        if opened != self.isExpanded():
            self.expand() if opened else self.collapse()

    def summarise(self, text: str) -> None:
        """Set the short summary that stands beside the title while the box is closed."""
        if text != self._summary:
            self._summary = text
            self._show()

    def _show(self) -> None:
        opened = self.isExpanded()
        # superqt fixes the present height, and a closed box would still take the Tab key
        self.content().setMaximumHeight(_NO_LIMIT)
        self.content().setVisible(opened)
        self.heading.setIcon(QIcon())  # superqt's icon keeps its colour if the theme changes
        summary = f":  {self._summary}" if self._summary and not opened else ""
        self.heading.setText(f"{'▾' if opened else '▸'}  {self._title}{summary}")
        self.heading.setToolTip(f"{'Close' if opened else 'Open'} this part of the panel")
