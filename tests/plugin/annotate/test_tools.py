"""Brushes and correction tools without a window: what clicks and drags paint, and when a tool ends."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

from napari_fewshot_cells.base.errors import AnnotationError
from napari_fewshot_cells.plugin.annotate.tool_registry import ACCEPT, BOX, REJECT
from napari_fewshot_cells.plugin.annotate.tools import Tools
from napari_fewshot_cells.plugin.layers.brushes import BACKGROUND, CELL, CONTOUR, free_label
from napari_fewshot_cells.plugin.layers.plane_source import PlaneResult, tally
from napari_fewshot_cells.plugin.session.session import Session

SHAPE = (40, 50)
FIRST, SECOND = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
FIRST[5:15, 5:15], SECOND[5:15, 15:25] = True, True  # two touching objects


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def session(viewer: ViewerModel) -> Session:
    return Session(viewer)


@pytest.fixture
def tools(session: Session) -> Tools:
    return Tools(session)


@pytest.fixture
def refusals(tools: Tools) -> list[str]:
    """Why the tools refused an action, message by message."""
    messages: list[str] = []
    tools.refused.connect(messages.append)
    return messages


def add_image(viewer: ViewerModel, shape: tuple[int, ...] = SHAPE, **where: Any) -> Image:
    return viewer.add_image(np.random.default_rng(0).random(shape, np.float32), name="photo", **where)


def predict(session: Session, image: Image) -> Labels:
    """Show the two objects as the prediction of the shown plane."""
    found = np.where(FIRST, 1, np.where(SECOND, 2, 0)).astype(np.int32)
    table = {"index": np.array([1, 2]), "area": np.array([100.0, 100.0])}
    return session.show(PlaneResult(session.source(image), found, table, {"model": "mine"}))


def send(viewer: ViewerModel, callbacks: Callable[..., None], kind: str, layer: Labels, pixel: Any) -> None:
    """Send a mouse event at a pixel of `layer` to the active layer; one image pixel is ten screen pixels."""
    world = layer.data_to_world(pixel)
    event = SimpleNamespace(
        type=kind,
        button=1,
        modifiers=(),
        is_dragging=True,
        position=tuple(world),
        pos=10 * np.array(pixel[-2:], float),
    )
    callbacks(viewer.layers.selection.active, ReadOnlyWrapper(event))


def drag(viewer: ViewerModel, layer: Labels, *pixels: tuple[float, ...]) -> None:
    send(viewer, mouse_press_callbacks, "mouse_press", layer, pixels[0])
    for pixel in pixels[1:]:
        send(viewer, mouse_move_callbacks, "mouse_move", layer, pixel)
    send(viewer, mouse_release_callbacks, "mouse_release", layer, pixels[-1])


def click(viewer: ViewerModel, layer: Labels, *pixel: float) -> None:
    trembling = (*pixel[:-1], pixel[-1] + 0.2)
    drag(viewer, layer, pixel, trembling)


def count(session: Session) -> str:
    return str(tally(session.painted()))


# --- accept and reject


def test_accept_makes_the_annotation_layer_and_each_object_a_cell_of_its_own(
    viewer: ViewerModel, session: Session, tools: Tools, refusals: list[str]
) -> None:
    predicted = predict(session, add_image(viewer, scale=(0.5, 0.25), translate=(3, 7)))
    predicted.visible = False
    tools.take(ACCEPT)
    annotation = session.annotation.layer
    assert tools.in_hand == ACCEPT
    assert predicted.visible  # the user clicks on it
    click(viewer, predicted, 8, 14.4)
    click(viewer, predicted, 8, 14.6)
    assert np.array_equal(annotation.data, np.where(FIRST, 2, np.where(SECOND, 3, 0)))
    assert count(session) == "1 image: 2 cells, no background yet"
    assert refusals == []
    annotation.undo()
    assert np.array_equal(annotation.data, np.where(FIRST, 2, 0))
    annotation.undo()
    assert not annotation.data.any()
    annotation.redo()
    assert np.array_equal(annotation.data, np.where(FIRST, 2, 0))


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_on_the_plane_on_show_of_a_stack(
    viewer: ViewerModel, session: Session, tools: Tools, order: tuple[int, ...]
) -> None:
    image = add_image(viewer, (4, *SHAPE), scale=(3, 0.5, 0.5), translate=(10, 20, 30))
    viewer.dims.order = order
    for step in (1, 2):
        viewer.dims.set_current_step(0, step)
        predicted = predict(session, image)
    tools.take(ACCEPT)
    annotation = session.annotation.layer
    painted = []
    session.annotations.painted.connect(lambda: painted.append(True))
    click(viewer, predicted, 2, 8, 8)
    assert np.array_equal(annotation.data[2], np.where(FIRST, 2, 0))
    assert not annotation.data[[0, 1, 3]].any()
    tools.take(REJECT)
    click(viewer, predicted, 2, 8, 20)
    assert np.array_equal(annotation.data[2], np.where(FIRST, 2, np.where(SECOND, 1, 0)))
    viewer.dims.set_current_step(0, 1)
    painted.clear()
    viewer.dims.set_current_step(0, 2)
    assert painted == []  # a step through the stack is not a stroke
    annotation.undo()
    assert painted  # undo counts as a change
    assert np.array_equal(annotation.data[2], np.where(FIRST, 2, 0))


def test_reject_is_background_and_one_step_of_undo(
    viewer: ViewerModel, session: Session, tools: Tools
) -> None:
    predicted = predict(session, add_image(viewer))
    tools.take(REJECT)
    click(viewer, predicted, 8, 8)
    annotation = session.annotation.layer
    assert np.array_equal(annotation.data, FIRST.astype(int))
    annotation.undo()
    assert not annotation.data.any()


def test_what_a_person_painted_stays(
    viewer: ViewerModel, session: Session, tools: Tools, refusals: list[str]
) -> None:
    image = add_image(viewer)
    predicted = predict(session, image)
    annotation = session.annotations.create(image)
    annotation.data[5:8, 5:15] = 1  # background
    annotation.data[10:12, 13:30] = 4  # a neighbouring cell that reaches into the object
    mine = annotation.data.copy()
    tools.take(ACCEPT)
    click(viewer, predicted, 8, 8)
    assert np.array_equal(annotation.data, np.where((mine == 0) & FIRST, 5, mine))
    click(viewer, predicted, 8, 8)
    assert refusals == ["All of this object is annotated already; erase what you want to change."]
    tools.take(REJECT)
    click(viewer, predicted, 8, 20)
    assert np.array_equal(annotation.data[mine > 0], mine[mine > 0])


def test_a_stroke_inside_an_accepted_object_becomes_one_cell_with_it(
    viewer: ViewerModel, session: Session, tools: Tools
) -> None:
    image = add_image(viewer)
    predicted = predict(session, image)
    annotation = session.annotations.create(image)
    annotation.data[10, 6:13] = 7
    tools.take(ACCEPT)
    click(viewer, predicted, 8, 8)
    assert np.array_equal(annotation.data, np.where(FIRST, 7, 0))


@pytest.mark.parametrize("pixel", [(30, 30), (-4, 8), (8, 400)])
def test_a_click_beside_any_object_is_reported(
    viewer: ViewerModel, session: Session, tools: Tools, refusals: list[str], pixel: tuple[int, int]
) -> None:
    predicted = predict(session, add_image(viewer))
    tools.take(ACCEPT)
    resolved: list[str] = []
    tools.resolved.connect(resolved.append)
    click(viewer, predicted, *pixel)
    assert refusals == ["There is no predicted object here; click an object of 'cells photo'."]
    assert not session.annotation.layer.data.any()
    click(viewer, predicted, 8, 8)
    assert resolved == refusals


def test_a_drag_moves_the_camera_and_accepts_nothing(
    viewer: ViewerModel, session: Session, tools: Tools, refusals: list[str]
) -> None:
    predicted = predict(session, add_image(viewer))
    tools.take(ACCEPT)
    assert session.annotation.layer.mouse_pan
    drag(viewer, predicted, (8, 8), (9, 9), (12, 12))
    assert not session.annotation.layer.data.any()
    assert refusals == []


# --- the box


def test_a_box_fills_what_is_not_painted_and_only_that(
    viewer: ViewerModel, session: Session, tools: Tools
) -> None:
    annotation = session.annotations.create(add_image(viewer, scale=(2, 2), translate=(-5, 5)))
    annotation.data[10:20, 10:20] = 3
    tools.take(BOX)
    assert not annotation.mouse_pan
    drag(viewer, annotation, (25.4, 30), (22, 20), (4.6, 12.4))
    expected = np.zeros(SHAPE, int)
    expected[5:26, 12:31] = 1
    expected[10:20, 10:20] = 3
    assert np.array_equal(annotation.data, expected)
    assert not annotation._overlays["selection_box"].visible
    annotation.undo()
    assert np.array_equal(annotation.data, np.where(expected == 3, 3, 0))


def test_a_box_partly_outside_the_image_on_a_plane_of_a_stack(
    viewer: ViewerModel, session: Session, tools: Tools, refusals: list[str]
) -> None:
    annotation = session.annotations.create(add_image(viewer, (3, *SHAPE)))
    viewer.dims.set_current_step(0, 1)
    tools.take(BOX)
    drag(viewer, annotation, (1, 30, 40), (1, 100, 100))
    expected = np.zeros((3, *SHAPE), int)
    expected[1, 30:, 40:] = 1
    assert np.array_equal(annotation.data, expected)
    drag(viewer, annotation, (1, -9, -9), (1, -3, 60))
    drag(viewer, annotation, (1, 35, 45), (1, 38, 48))
    drag(viewer, annotation, (1, 3, 3), (1, 3, 3.1))
    assert np.array_equal(annotation.data, expected)
    outside, painted, clicked = refusals
    assert "outside the image" in outside
    assert painted.startswith("All of the box is annotated already")
    assert clicked.startswith("That was a click")


def test_the_box_is_seen_while_it_is_dragged_and_ends_with_its_tool(
    viewer: ViewerModel, session: Session, tools: Tools
) -> None:
    annotation = session.annotations.create(add_image(viewer))
    tools.take(BOX)
    outline = annotation._overlays["selection_box"]
    send(viewer, mouse_press_callbacks, "mouse_press", annotation, (5, 6))
    send(viewer, mouse_move_callbacks, "mouse_move", annotation, (9, 20))
    assert outline.visible
    assert outline.bounds == ((5, 6), (10, 21))
    tools.take(CELL)  # as by its key, while the mouse button is down
    send(viewer, mouse_move_callbacks, "mouse_move", annotation, (15, 25))
    send(viewer, mouse_release_callbacks, "mouse_release", annotation, (15, 25))
    assert not outline.visible
    assert not annotation.data.any()


# --- contours


def test_every_contour_is_a_new_cell(viewer: ViewerModel, session: Session, tools: Tools) -> None:
    annotation = session.annotations.create(add_image(viewer, (3, *SHAPE)))
    viewer.dims.set_current_step(0, 1)
    annotation.data[1, 0, 0] = 4
    tools.take(CONTOUR)
    assert (annotation.mode, tools.in_hand) == ("polygon", CONTOUR)
    polygon = annotation._overlays["polygon"]
    for column in (5, 15):
        polygon.points = [[1, 5, column], [1, 5, column + 9], [1, 14, column + 9], [1, 14, column]]
        polygon.add_polygon_to_labels(annotation)
    assert np.array_equal(annotation.data[1], np.where(FIRST, 5, np.where(SECOND, 6, annotation.data[1])))
    assert annotation.selected_label == 7
    annotation.undo()
    assert np.array_equal(annotation.data[1] > 4, FIRST)


def test_an_unfinished_contour_is_dropped_for_another_tool(
    viewer: ViewerModel, session: Session, tools: Tools
) -> None:
    annotation = session.annotations.create(add_image(viewer))
    tools.take(CONTOUR)
    annotation._overlays["polygon"].points = [[5, 5], [5, 9], [9, 9]]
    tools.take(BOX)
    assert annotation._overlays["polygon"].points == []


def test_paint_of_a_brush_keeps_its_label(viewer: ViewerModel, session: Session, tools: Tools) -> None:
    annotation = session.annotations.create(add_image(viewer))
    tools.take(CELL)
    annotation.paint((5, 5), annotation.selected_label)
    assert annotation.selected_label == 2


def test_a_new_cell_fits_into_the_type_of_the_labels() -> None:
    plane = np.zeros(SHAPE, np.uint8)
    assert free_label(plane) == 2
    plane[3, 3] = 255  # a mask from another program
    assert free_label(plane) == 2
    plane[3, 4] = 2
    assert free_label(plane, besides=3) == 4
    full = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with pytest.raises(AnnotationError, match="All labels that uint8 can hold"):
        free_label(full)


# --- when a tool cannot be taken, and when it ends


def test_each_tool_says_what_is_missing(
    viewer: ViewerModel, session: Session, tools: Tools, refusals: list[str]
) -> None:
    tools.take(ACCEPT)
    image = add_image(viewer)
    tools.take(ACCEPT)
    tools.take(BOX)
    assert refusals == [
        "Open an image first.",
        "There is no prediction of 'photo' yet: fine-tune or predict first.",
        "Make a new annotation layer first, or choose one.",
    ]
    assert tools.in_hand is None
    predict(session, image)
    assert tools.reason_disabled(REJECT) is None
    session.annotations.create(image)
    assert tools.reason_disabled(BOX) is None
    session.annotations.set_whole_image(image, True)
    for name in (BACKGROUND, REJECT, BOX):
        assert "unpainted pixels are background" in tools.reason_disabled(name)
    assert tools.reason_disabled(ACCEPT) is None


def test_three_dimensions_end_a_tool(viewer: ViewerModel, session: Session, tools: Tools) -> None:
    predict(session, add_image(viewer, (3, *SHAPE)))
    tools.take(ACCEPT)
    viewer.dims.ndisplay = 3
    assert tools.in_hand is None
    assert "2-D" in tools.reason_disabled(ACCEPT)


def test_an_annotation_that_got_another_shape_is_not_painted(
    viewer: ViewerModel, session: Session, tools: Tools, refusals: list[str]
) -> None:
    predicted = predict(session, add_image(viewer))
    tools.take(ACCEPT)
    session.annotation.layer.data = np.zeros((20, 20), np.int32)
    click(viewer, predicted, 8, 8)
    assert "has shape (20, 20), the image 'photo' (40, 50)" in refusals[0]
    assert not session.annotation.layer.data.any()


@pytest.mark.parametrize("tool", [ACCEPT, REJECT, BOX])
@pytest.mark.parametrize(
    "end",
    [
        lambda viewer, session, tools: tools.take(tools.in_hand),
        lambda viewer, session, tools: tools.take(CELL),
        lambda viewer, session, tools: setattr(session.annotation.layer, "mode", "fill"),
        lambda viewer, session, tools: setattr(viewer.layers.selection, "active", session.image),
        lambda viewer, session, tools: viewer.layers.remove(session.annotation.layer),
        lambda viewer, session, tools: viewer.layers.remove(session.image),
        lambda viewer, session, tools: session.choose_annotation(None),
        lambda viewer, session, tools: tools.close(),
    ],
    ids=["again", "brush", "napari's-mode", "other-layer", "removed", "image-removed", "unlinked", "closed"],
)
def test_a_tool_ends_and_leaves_nothing_behind(
    viewer: ViewerModel, session: Session, tools: Tools, tool: str, end: Callable[..., None]
) -> None:
    image = add_image(viewer)
    predicted = predict(session, image)
    annotation = session.annotations.create(image)
    callbacks = list(annotation.mouse_drag_callbacks)
    tools.take(tool)
    (ours,) = (callback for callback in annotation.mouse_drag_callbacks if callback not in callbacks)
    end(viewer, session, tools)
    assert tools.in_hand not in (ACCEPT, REJECT, BOX)
    assert ours not in annotation.mouse_drag_callbacks
    assert annotation.mouse_pan == (annotation.mode == "pan_zoom")
    assert annotation.cursor == annotation._cursor_modes[annotation._mode]
    if annotation in viewer.layers:
        viewer.layers.selection.active = annotation
        annotation.mode = "pan_zoom"
        drag(viewer, predicted, (8, 8), (8, 8))
        assert not annotation.data.any()


def test_a_tool_stays_in_hand_when_a_prediction_comes(
    viewer: ViewerModel, session: Session, tools: Tools
) -> None:
    image = add_image(viewer)
    session.annotations.create(image)
    tools.take(BOX)
    predict(session, image)  # a new layer
    assert tools.in_hand == BOX
    tools.take(ACCEPT)
    predict(session, image)  # the same layer
    assert tools.in_hand == ACCEPT


def test_a_removed_prediction_ends_accepting(viewer: ViewerModel, session: Session, tools: Tools) -> None:
    predicted = predict(session, add_image(viewer))
    tools.take(ACCEPT)
    viewer.layers.remove(predicted)
    assert tools.in_hand is None


def test_keys_are_those_of_the_annotation_on_work(
    viewer: ViewerModel, session: Session, tools: Tools
) -> None:
    first = session.annotations.create(add_image(viewer))
    assert first.keymap
    other = session.annotations.create(add_image(viewer))
    viewer.layers.selection.active = other
    assert (bool(first.keymap), bool(other.keymap)) == (False, True)
    session.close()
    tools.close()
    tools.close()
    assert not other.keymap
