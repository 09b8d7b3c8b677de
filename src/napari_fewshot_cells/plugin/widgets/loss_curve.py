"""The loss curve of a running fine-tuning."""

from __future__ import annotations

import pyqtgraph
from qtpy.QtCore import QEvent

from .theme_colours import Colours

_HEIGHT = 80  # px


class LossCurve(pyqtgraph.PlotWidget):  # type: ignore[misc]
    """Training loss against step; hidden until the first point.

    Attributes
    ----------
    steps, losses : list
        The points of the curve.
    """

    def __init__(self) -> None:
        super().__init__(background=None, enableMenu=False)
        self.steps: list[int] = []
        self.losses: list[float] = []
        self._line = self.plot()
        for side in ("left", "bottom"):
            self.getAxis(side).enableAutoSIPrefix(False)  # show 0.04, not 40 with "×0.001"
        self.setLimits(yMin=0)
        self.setMouseEnabled(x=False, y=False)  # the wheel scrolls the panel
        self.hideButtons()
        self.setFixedHeight(_HEIGHT)
        self.setToolTip("Training loss on what you painted. If it no longer falls, press Stop and keep.")
        self.hide()

    def set_colours(self, colours: Colours) -> None:
        """Draw in the colours of a theme."""
        self._line.setPen(pyqtgraph.mkPen(colours.line, width=2))
        for side in ("left", "bottom"):
            self.getAxis(side).setPen(colours.hint)
            self.getAxis(side).setTextPen(colours.hint)
        self.getAxis("left").setLabel("loss", color=colours.hint)

    def begin(self) -> None:
        """Remove the curve of the last training."""
        self.steps, self.losses = [], []
        self._line.setData([], [])
        self.hide()

    def add(self, step: int, loss: float) -> None:
        """Add a point."""
        self.steps.append(step)
        self.losses.append(loss)
        self._line.setData(self.steps, self.losses)
        self.show()

    def changeEvent(self, event: QEvent) -> None:
        """As Qt's; a new theme has a new background, and the plot caches the old one."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self.resetCachedContent()
