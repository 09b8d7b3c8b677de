"""A framed step of the work that can be closed, so that the rest fits on a small screen."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QPushButton, QSizePolicy, QVBoxLayout, QWidget

_FRAME = "QFrame#step { border: 1px solid rgba(128, 128, 128, 70); border-radius: 6px; }"


class Step(QFrame):
    """A heading that opens and closes what is below it; one without a frame is a part of another.

    Attributes
    ----------
    name : str
        The title without its number; under it is remembered whether the step is closed.
    inside : QVBoxLayout
        To be filled.

    Signals
    -------
    toggled
        With whether it is open.
    """

    toggled = Signal(bool)

    def __init__(self, title: str, *, framed: bool = True) -> None:
        super().__init__()
        self.name = title.lstrip("0123456789 ")
        self._title, self._summary, self._open = title, "", True
        # not a QGroupBox: its title can only be bold together with all it holds
        self.setObjectName("step" if framed else "part")
        self.setStyleSheet(_FRAME)
        self.heading = QPushButton()
        self.heading.setObjectName("heading" if framed else "subheading")
        self.heading.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.heading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.heading.clicked.connect(self._on_clicked)
        self._content = QWidget()
        self.inside = QVBoxLayout(self._content)
        self.inside.setContentsMargins(0, 0, 0, 0)
        self.inside.setSpacing(6)
        layout = QVBoxLayout(self)
        margins = (10, 4, 10, 8) if framed else (0, 0, 0, 0)
        layout.setContentsMargins(*margins)
        layout.setSpacing(4)
        layout.addWidget(self.heading)
        layout.addWidget(self._content)
        self._show()

    @property
    def is_open(self) -> bool:
        """Whether its content is shown."""
        return self._open

    def open(self, opened: bool) -> None:
        """Show or hide the content."""
        if opened != self._open:
            self._open = opened
            self._show()

    def summarise(self, text: str) -> None:
        """Say in a few words what is inside, beside the title while it is closed."""
        if text != self._summary:
            self._summary = text
            self._show()

    def _on_clicked(self) -> None:
        self.open(not self._open)
        self.toggled.emit(self._open)

    def _show(self) -> None:
        self._content.setVisible(self._open)
        summary = f":  {self._summary}" if self._summary and not self._open else ""
        self.heading.setText(f"{'▾' if self._open else '▸'}  {self._title}{summary}")
        self.heading.setToolTip(f"{'Close' if self._open else 'Open'} this part of the panel")
