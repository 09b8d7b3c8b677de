"""The registry of annotation tools: each entry becomes a button with a key and a tooltip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ..layers.brushes import BACKGROUND, CELL, CONTOUR, ERASE, bring_forward, take_brush
from ..layers.result_layers import is_prediction
from ..session.disabled_reasons import reason_brush_disabled, reason_display_disabled
from .corrections import accept, annotate_box, reject

if TYPE_CHECKING:
    from napari.layers import Labels

    from ..session.session import Session
    from .touch import Touch

ACCEPT, REJECT, BOX = "Accept object", "Reject object", "Annotate box"


def take_pointer(session: Session, labels: Labels) -> None:
    """Activate the annotation layer in pan-and-zoom mode, in which a tool can use the left mouse button."""
    bring_forward(session.viewer, labels)
    labels.mode = "pan_zoom"


def take_pointer_on_prediction(session: Session, labels: Labels) -> None:
    """Do what `take_pointer` does, and show the prediction."""
    take_pointer(session, labels)
    predicted = session.results.of(session.image)
    assert predicted is not None, "the tool is disabled without a prediction"
    predicted.visible = True


@dataclass(frozen=True)
class Tool:
    """A tool under *Annotate* in the panel: a button and a key that does the same.

    Attributes
    ----------
    name : str
        Text of the button.
    key : str
        Works while the annotation layer is active. Neither napari nor another tool may use it.
    tip : str
        Tooltip: what the tool does. If it paints, also what happens to existing paint.
    paint : callable, optional
        Called with a `Touch`; paints. Raises `AnnotationError` that says what to do instead. None for one of
        napari's brushes.
    draws_box : bool
        If true, `paint` gets a box, otherwise a click.
    reason_disabled : callable
        Called with the session; returns why the tool is disabled, or None. It need not check whether the
        annotation layer can be painted on: `Tools` does.
    paints_background : bool
        If true, the tool is also disabled if the whole image is annotated: there, unpainted pixels are the
        background.
    take : callable
        Called with the session and the annotation layer; prepares the viewer for the tool.
    napari_binds_key : bool
        If true, napari's own binding of the key does the same, and the tool adds none.
    row : int
        Row of the button, counted from 0.
    """

    name: str
    key: str
    tip: str
    paint: Callable[[Touch], None] | None = None
    draws_box: bool = False
    reason_disabled: Callable[[Session], str | None] = reason_brush_disabled
    paints_background: bool = False
    take: Callable[[Session, Labels], None] = take_pointer
    napari_binds_key: bool = False
    row: int = 3

    @property
    def tooltip(self) -> str:
        """The tip and the key."""
        return f"{self.tip}\nKey: {self.key}, while the annotation layer is active"


_tools: dict[str, Tool] = {}


def register_tool(tool: Tool) -> None:
    """Add a tool to every panel opened from now on.

    Raises
    ------
    ValueError
        Another tool has the same name or the same key.
    """
    for other in _tools.values():
        if tool.name == other.name or tool.key == other.key:
            raise ValueError(
                f"'{tool.name}' ({tool.key}) needs another name or key: '{other.name}' has {other.key}."
            )
    _tools[tool.name] = tool


def registered_tools() -> tuple[Tool, ...]:
    """All tools, in the order of their buttons."""
    return tuple(sorted(_tools.values(), key=lambda tool: tool.row))


def _brush(name: str) -> Callable[[Session, Labels], None]:
    return lambda session, labels: take_brush(session.viewer, labels, name)


def _reason_no_prediction(session: Session) -> str | None:
    """Why there is no predicted object to click, or None. An annotation layer is not required yet."""
    if session.image is None:
        return reason_brush_disabled(session)
    predicted = session.results.of(session.image)
    if predicted is None or not is_prediction(predicted):
        return f"There is no prediction of '{session.image.name}' yet: fine-tune or predict first."
    return reason_display_disabled(session)


_on_prediction = partial(Tool, reason_disabled=_reason_no_prediction, take=take_pointer_on_prediction, row=2)

# All keys are under the left hand. Except E, napari uses none of them on a labels layer.
for _tool in (
    Tool(
        CELL,
        "C",
        "Paint a cell. Press again before you paint a cell that touches a painted one.",
        take=_brush(CELL),
        row=0,
    ),
    Tool(
        BACKGROUND,
        "G",
        "Paint background: a few strokes, also between touching cells.",
        paints_background=True,
        take=_brush(BACKGROUND),
        row=0,
    ),
    Tool(ERASE, "E", "Make pixels 'not annotated' again.", take=_brush(ERASE), napari_binds_key=True, row=0),
    Tool(
        CONTOUR,
        "D",
        "Draw the outline of a cell. It is filled as a new cell.\n"
        "Click from point to point; double-click or press Enter to close the contour.\n"
        "Right-click removes the last point, Esc removes the contour.\n"
        "It paints over existing paint, unless napari's 'preserve labels' is on (key B).",
        take=_brush(CONTOUR),
        row=1,
    ),
    Tool(
        BOX,
        "S",
        "Drag a box in which you have annotated every cell. Everything else in it becomes background,\n"
        "also predicted cells that you have not accepted. What you painted stays.",
        annotate_box,
        draws_box=True,
        paints_background=True,
        row=1,
    ),
    _on_prediction(
        ACCEPT,
        "A",
        "Click predicted objects that are right. Each becomes a cell of the annotation.\n"
        "What you painted stays. A cell stroke inside the object becomes part of the new cell.",
        accept,
    ),
    _on_prediction(
        REJECT,
        "R",
        "Click predicted objects that are not cells. Each becomes background.\nWhat you painted stays.",
        reject,
        paints_background=True,
    ),
):
    register_tool(_tool)
