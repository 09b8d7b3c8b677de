"""The message bar at the bottom of the panel: one message at a time."""

from __future__ import annotations

from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QStyle, QWidget

from ..session.messages import DONE, ERROR, INFO, WARNING

_ICONS = {
    INFO: QStyle.StandardPixmap.SP_MessageBoxInformation,
    DONE: QStyle.StandardPixmap.SP_DialogApplyButton,
    WARNING: QStyle.StandardPixmap.SP_MessageBoxWarning,
    ERROR: QStyle.StandardPixmap.SP_MessageBoxCritical,
}
_COLOURS = {INFO: "#4d79c7", DONE: "#3a9d5d", WARNING: "#c98a1b", ERROR: "#c8443c"}
_EDGE = 4  # px


def report_fault(bar: MessageBar, error: Exception) -> None:
    """Show an unexpected error in the bar, and pass it with its traceback to napari."""
    bar.say(ERROR, f"Unexpected error: {type(error).__name__}: {error}")
    notification_manager.receive_error(type(error), error, error.__traceback__)


class MessageBar(QFrame):
    """An icon and a text beside a coloured edge; hidden while there is no message."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = INFO
        self._icon, self._text = QLabel(), QLabel()
        self._icon.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8 + _EDGE, 6, 8, 6)
        layout.addWidget(self._icon)
        layout.addWidget(self._text, 1)
        self.setVisible(False)

    @property
    def text(self) -> str:
        """The shown message."""
        return self._text.text()

    def say(self, kind: str, text: str) -> None:
        """Replace the message; an empty text hides the bar."""
        self.kind = kind
        self._icon.setPixmap(self.style().standardIcon(_ICONS[kind]).pixmap(16, 16))
        self._text.setText(text)
        self.update()
        self.setVisible(bool(text))

    def take_back(self, text: str) -> None:
        """Hide a message if it is still shown."""
        if text == self.text:
            self.say(self.kind, "")

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw background and edge. Changing a style sheet instead would block the GUI thread for 60 ms."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(128, 128, 128, 40))
        painter.fillRect(0, 0, _EDGE, self.height(), QColor(_COLOURS[self.kind]))
