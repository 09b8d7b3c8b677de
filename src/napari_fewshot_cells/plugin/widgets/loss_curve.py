"""The loss of a fine-tuning, step by step, while it runs."""

from __future__ import annotations

import pyqtgraph
from qtpy.QtCore import QEvent

from .theme_colours import Colours

_HEIGHT = 80  # px


class LossCurve(pyqtgraph.PlotWidget):  # type: ignore[misc]
    """Training loss against steps; hidden until there is something to see.

    Attributes
    ----------
    steps, losses : list
        What is drawn.
    """

    def __init__(self) -> None:
        super().__init__(background=None, enableMenu=False)
        self.steps: list[int] = []
        self.losses: list[float] = []
        self._line = self.plot()
        for side in ("left", "bottom"):
            self.getAxis(side).enableAutoSIPrefix(False)  # 0.04, not 40 "×0.001"
        self.setLimits(yMin=0)
        self.setMouseEnabled(x=False, y=False)  # the wheel scrolls the panel
        self.hideButtons()
        self.setFixedHeight(_HEIGHT)
        self.setToolTip("Training loss on what is painted; when it falls no more, stop and keep")
        self.hide()

    def dress(self, colours: Colours) -> None:
        """Draw in the colours of a theme."""
        self._line.setPen(pyqtgraph.mkPen(colours.line, width=2))
        for side in ("left", "bottom"):
            self.getAxis(side).setPen(colours.hint)
            self.getAxis(side).setTextPen(colours.hint)
        self.getAxis("left").setLabel("loss", color=colours.hint)

    def begin(self) -> None:
        """Forget the last training."""
        self.steps, self.losses = [], []
        self._line.setData([], [])
        self.hide()

    def add(self, step: int, loss: float) -> None:
        """One more step."""
        self.steps.append(step)
        self.losses.append(loss)
        self._line.setData(self.steps, self.losses)
        self.show()

    def changeEvent(self, event: QEvent) -> None:
        """As Qt's; another theme has another ground, of which the plot keeps a picture."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self.resetCachedContent()
