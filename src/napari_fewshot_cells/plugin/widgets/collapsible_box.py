"""A framed part of the panel that can be closed, so that the rest fits on a small screen."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout
from superqt import QCollapsible

_FRAME = "QFrame#step { border: 1px solid rgba(128, 128, 128, 70); border-radius: 6px; }"
_NO_LIMIT = 2**24 - 1  # px, Qt's QWIDGETSIZE_MAX


class CollapsibleBox(QCollapsible):
    """A heading that opens and closes what is below it; one without a frame is a part of another.

    Attributes
    ----------
    name : str
        The title without its number; under it is remembered whether the box is closed.
    heading : QPushButton
    inside : QVBoxLayout
        To be filled.
    """

    def __init__(self, title: str, *, framed: bool = True) -> None:
        icon = QIcon(QPixmap(1, 1))  # `_show` takes it away; PySide6 holds a null icon for false
        super().__init__(title, expandedIcon=icon, collapsedIcon=icon)
        self.name = title.lstrip("0123456789 ")
        self._title, self._summary = title, ""
        self.setObjectName("step" if framed else "part")
        self.setStyleSheet(_FRAME)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setDuration(0)
        self.heading = self.toggleButton()
        self.heading.setObjectName("heading" if framed else "subheading")
        self.heading.setStyleSheet("")  # the panel's own shows where the keyboard is
        self.heading.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.heading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        inside, outside = self.content().layout(), self.layout()
        assert isinstance(inside, QVBoxLayout), "superqt fills it with one"
        assert outside is not None, "superqt gives every one a layout"
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
        """Say in a few words what is inside, beside the title while it is closed."""
        if text != self._summary:
            self._summary = text
            self._show()

    def _show(self) -> None:
        opened = self.isExpanded()
        # superqt limits the height to that of the moment, and leaves what is closed to the Tab key
        self.content().setMaximumHeight(_NO_LIMIT)
        self.content().setVisible(opened)
        self.heading.setIcon(QIcon())  # superqt's would keep its colour if the theme changes
        summary = f":  {self._summary}" if self._summary and not opened else ""
        self.heading.setText(f"{'▾' if opened else '▸'}  {self._title}{summary}")
        self.heading.setToolTip(f"{'Close' if opened else 'Open'} this part of the panel")
