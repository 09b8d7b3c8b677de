"""The loss of a fine-tuning, step by step, while it runs."""

from __future__ import annotations

import pyqtgraph
from qtpy.QtCore import QEvent

_HEIGHT = 80  # px
_LINE = "#4482e0"  # seen on light and on dark ground, like the axes' grey
_AXES = "#909090"


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
        self._line = self.plot(pen=pyqtgraph.mkPen(_LINE, width=2))
        for side in ("left", "bottom"):
            axis = self.getAxis(side)
            axis.setPen(_AXES)
            axis.setTextPen(_AXES)
            axis.enableAutoSIPrefix(False)  # 0.04, not 40 "×0.001"
        self.setLabel("left", "loss")
        self.setLimits(yMin=0)
        self.setMouseEnabled(x=False, y=False)  # the wheel scrolls the panel
        self.hideButtons()
        self.setFixedHeight(_HEIGHT)
        self.setToolTip("Training loss on what is painted; when it falls no more, stop and keep")
        self.hide()

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
