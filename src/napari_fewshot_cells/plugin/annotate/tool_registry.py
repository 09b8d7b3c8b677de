"""The annotation tools. An entry becomes a button of the panel with a key, a tip, and why it is off."""

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
    """Have napari leave the left button on the annotation layer to a tool."""
    bring_forward(session.viewer, labels)
    labels.mode = "pan_zoom"


def take_pointer_on_prediction(session: Session, labels: Labels) -> None:
    """The same, with the prediction in view."""
    take_pointer(session, labels)
    predicted = session.results.of(session.image)
    assert predicted is not None, "the tool is off without a prediction"
    predicted.visible = True


@dataclass(frozen=True)
class Tool:
    """A button of the panel under *Annotate*, and the key that does the same.

    Attributes
    ----------
    name : str
        On the button.
    key : str
        Works while the annotation layer is the active one; no other tool may have it, and none of napari's.
    tip : str
        What the tool does; where it paints, what becomes of the paint that is there.
    paint : callable, optional
        Takes a `Touch` and paints; raises `AnnotationError` with what the person is to do instead. None for a
        brush of napari's.
    draws_box : bool
        `paint` gets a box, not a click.
    reason_disabled : callable
        Takes the session and returns why the tool cannot be taken, None where it can. That an annotation
        layer cannot be painted on is found without it.
    paints_background : bool
        Off, too, where the whole image is annotated: background is what is not painted there.
    take : callable
        Takes the session and the annotation layer and gets the viewer ready.
    key_is_napari_s : bool
        napari's own key does the same already.
    row : int
        Of the buttons.
    """

    name: str
    key: str
    tip: str
    paint: Callable[[Touch], None] | None = None
    draws_box: bool = False
    reason_disabled: Callable[[Session], str | None] = reason_brush_disabled
    paints_background: bool = False
    take: Callable[[Session, Labels], None] = take_pointer
    key_is_napari_s: bool = False
    row: int = 3

    @property
    def tooltip(self) -> str:
        """Its tip and its key."""
        return f"{self.tip}\nKey: {self.key}, while the annotation layer is the active one"


_tools: dict[str, Tool] = {}


def register_tool(tool: Tool) -> None:
    """Add a tool to every panel that is opened from now on.

    Raises
    ------
    ValueError
        Another tool has its name or its key.
    """
    for other in _tools.values():
        if tool.name == other.name or tool.key == other.key:
            raise ValueError(
                f"'{tool.name}' ({tool.key}) needs another name or key: '{other.name}' has {other.key}."
            )
    _tools[tool.name] = tool


def registered_tools() -> tuple[Tool, ...]:
    """All tools in the order of their buttons."""
    return tuple(sorted(_tools.values(), key=lambda tool: tool.row))


def _brush(name: str) -> Callable[[Session, Labels], None]:
    return lambda session, labels: take_brush(session.viewer, labels, name)


def _reason_no_prediction(session: Session) -> str | None:
    """Why there is no predicted object to click on; there need be no annotation layer yet."""
    if session.image is None:
        return reason_brush_disabled(session)
    predicted = session.results.of(session.image)
    if predicted is None or not is_prediction(predicted):
        return f"There is no prediction of '{session.image.name}' yet: fine-tune or predict first."
    return reason_display_disabled(session)


_on_prediction = partial(Tool, reason_disabled=_reason_no_prediction, take=take_pointer_on_prediction, row=2)

# The keys are all under the left hand, and none that napari uses on a labels layer
for _tool in (
    Tool(
        CELL,
        "C",
        "Paint a cell; press again before the next cell that touches one already painted",
        take=_brush(CELL),
        row=0,
    ),
    Tool(
        BACKGROUND,
        "G",
        "Paint what is no cell: a few strokes, also between cells that touch",
        paints_background=True,
        take=_brush(BACKGROUND),
        row=0,
    ),
    Tool(ERASE, "E", "Make pixels 'not annotated' again", take=_brush(ERASE), key_is_napari_s=True, row=0),
    Tool(
        CONTOUR,
        "D",
        "Draw around a cell, and all inside becomes a cell; every contour is a new one.\n"
        "Click from point to point; double-click or press Enter to close the contour.\n"
        "Right-click takes the last point back, Esc drops the contour.\n"
        "It paints over what is there, unless napari's 'preserve labels' is on (key B).",
        take=_brush(CONTOUR),
        row=1,
    ),
    Tool(
        BOX,
        "S",
        "Drag a box in which you have annotated every cell: all else in it becomes background,\n"
        "predicted cells that you have not accepted too. What you painted stays.",
        annotate_box,
        draws_box=True,
        paints_background=True,
        row=1,
    ),
    _on_prediction(
        ACCEPT,
        "A",
        "Click on predicted objects that are right: each becomes a cell of the annotation.\n"
        "What you painted stays; a stroke of a cell inside the object becomes part of it.",
        accept,
    ),
    _on_prediction(
        REJECT,
        "R",
        "Click on predicted objects that are no cells: each becomes background.\nWhat you painted stays.",
        reject,
        paints_background=True,
    ),
):
    register_tool(_tool)
