"""What to annotate next, in a real viewer: the ranking in the table, the outline, *Go there*."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Shapes

from napari_fewshot_cells.models.library import list_models
from napari_fewshot_cells.plugin.jobs.suggest_job import Place, Suggested
from napari_fewshot_cells.plugin.session.actions import MOST_PLANES, candidates
from napari_fewshot_cells.plugin.session.messages import INFO, WARNING
from napari_fewshot_cells.plugin.widgets.image_table import ANNOTATED, NEXT

from ..conftest import PATIENCE
from .test_image_box import names, press, text


def outlines(viewer: Any) -> list[Any]:
    return [layer for layer in viewer.layers if isinstance(layer, Shapes)]


def is_drawn(outline: Any) -> bool:
    return bool(outline._data_view._displayed.any())


def box_of(outline: Any) -> tuple[float, ...]:
    corners = outline.data[0][:, -2:] + 0.5
    return (*corners.min(axis=0), *corners.max(axis=0))


@pytest.fixture
def asked(open_panel: Any, fine_tuned: Any, disc_image: Any, qtbot: Any, wait_idle: Any) -> Any:
    """A viewer with a grey image and a stack of channels, and a panel that has an answer."""
    grey, _ = disc_image
    viewer, panel = open_panel()
    stack = np.stack([np.stack([grey, grey[::-1]])] * 3)
    viewer.add_image(stack, name="stack", axis_labels=("z", "c", "y", "x"), scale=(3, 1, 0.5, 0.5))
    viewer.add_image(grey, name="grey", scale=(0.5, 0.5))
    panel.image_box.suggestion.ask_button.click()
    assert panel.session.busy
    wait_idle(panel)
    return viewer, panel


def place(panel: Any, image: Any, plane: tuple[int | None, ...], box: Any, score: float) -> Place:
    sources = {candidate.source.plane: candidate.source for candidate in candidates(panel.session)
               if candidate.source.layer == image}  # fmt: skip
    return Place(sources[plane], box, score)


def suggest(panel: Any, *places: Place) -> None:
    """Show places as if the job had found them."""
    panel.image_box.suggestion.show_places(Suggested(panel.session.model, places))


def test_it_asks_for_a_model_first(open_panel: Any, disc_image: Any) -> None:
    viewer, panel = open_panel()
    row = panel.image_box.suggestion
    viewer.add_image(disc_image[0], name="discs")
    assert not row.ask_button.isEnabled()
    assert "Fine-tune first" in row.ask_button.toolTip()
    assert not row.go_button.isEnabled()
    assert "What to annotate next" in row.go_button.toolTip()


def test_the_ranking_is_in_the_table_and_the_first_place_is_outlined(asked: Any) -> None:
    viewer, panel = asked
    row, table = panel.image_box.suggestion, panel.image_box.table
    assert panel.message_bar.text == ""
    scores = [place.score for place in row.places]
    assert scores == sorted(scores, reverse=True)
    assert not table.isColumnHidden(NEXT)
    ranks = sorted(text(panel, name, NEXT) for name in names(panel))
    assert ranks == ["1", "2", "3", "4"]  # each plane of the stack has its own row
    (outline,) = outlines(viewer)
    assert box_of(outline) == row.current.box
    assert row.current.source.label in row.answer.text()
    # the outline belongs to no image, and the active layer did not change
    assert outline not in panel.session.annotations.images
    assert panel.session.image == viewer.layers["grey"]
    assert viewer.layers.selection.active == viewer.layers["grey"]


@pytest.mark.both_bindings
def test_go_there_then_paint_and_the_next_one_is_outlined(asked: Any, qtbot: Any) -> None:
    viewer, panel = asked
    row, stack, grey = panel.image_box.suggestion, viewer.layers["stack"], viewer.layers["grey"]
    suggest(
        panel,
        place(panel, stack, (2, 0, None, None), (0, 100, 80, 200), 0.4),
        place(panel, grey, (None, None), (0, 0, 80, 100), 0.2),
    )
    assert "40%" in row.answer.text().replace(" ", "")
    viewer.dims.set_current_step(0, 0)
    row.go_button.click()
    assert panel.session.image == stack
    assert viewer.dims.current_step[0] == 2
    assert viewer.camera.center[-2:] == pytest.approx((39.5 / 2, 149.5 / 2))
    (outline,) = outlines(viewer)
    assert outline.visible
    for channel in (0, 1):  # visible on all channels of the plane, and on no other plane
        viewer.dims.set_current_step(1, channel)
        assert is_drawn(outline)
    viewer.dims.set_current_step(0, 1)
    assert not is_drawn(outline)
    viewer.dims.set_current_step(0, 2)

    panel.annotation_box.new_button.click()
    labels = panel.session.annotation.layer
    labels.paint((2, 0, 120, 20), 2)  # on the same plane, outside the place
    qtbot.waitUntil(lambda: text(panel, "stack, plane 2", ANNOTATED) == "partly, 1", timeout=PATIENCE)
    assert row.current.source.layer == stack
    labels.paint((2, 0, 40, 150), 3)
    qtbot.waitUntil(lambda: row.current.source.layer == grey, timeout=PATIENCE)
    (outline,) = outlines(viewer)
    assert box_of(outline) == (0, 0, 80, 100)
    assert viewer.layers.selection.active == labels
    assert labels.mode == "paint"
    row.go_button.click()
    assert panel.session.image == grey
    panel.annotation_box.new_button.click()
    panel.session.annotation.layer.paint((40, 40), 2)
    qtbot.waitUntil(lambda: not outlines(viewer), timeout=PATIENCE)
    assert "Everything" in row.answer.text()


def test_a_click_on_a_ranked_row_outlines_its_place_and_ranks_stay(asked: Any, qtbot: Any) -> None:
    viewer, panel = asked
    stack, grey = viewer.layers["stack"], viewer.layers["grey"]
    suggest(
        panel,
        place(panel, grey, (None, None), (0, 0, 80, 100), 0.4),
        place(panel, stack, (1, 0, None, None), (80, 0, 160, 100), 0.3),
    )
    press(qtbot, panel, "stack, plane 1")
    (outline,) = outlines(viewer)
    assert box_of(outline) == (80, 0, 160, 100)
    assert outline.ndim == 4
    assert (text(panel, "grey", NEXT), text(panel, "stack, plane 1", NEXT)) == ("1", "2")


def test_the_outline_moves_within_a_layer_of_as_many_axes(asked: Any) -> None:
    viewer, panel = asked
    row, grey = panel.image_box.suggestion, viewer.layers["grey"]
    other = viewer.add_image(grey.data, name="other", scale=(2, 2), translate=(7, 8))
    suggest(panel, place(panel, grey, (None, None), (0, 0, 80, 100), 0.4))
    (outline,) = outlines(viewer)
    suggest(panel, place(panel, other, (None, None), (80, 100, 160, 200), 0.4))
    assert outlines(viewer) == [outline]
    assert box_of(outline) == (80, 100, 160, 200)
    assert (outline.scale.tolist(), outline.translate.tolist()) == ([2, 2], [7, 8])
    assert len(outline.data) == 1
    panel.session.choose(image=grey)
    assert not outline.visible  # it belongs to another image
    suggest(panel, place(panel, other, (None, None), (0, 0, 80, 100), 0.4))
    assert not outline.visible
    panel.session.choose(image=other)
    assert outline.visible
    assert row.current.source.layer == other


def test_it_goes_with_its_image_its_model_and_the_panel(asked: Any, fine_tuned: Any) -> None:
    viewer, panel = asked
    stack, grey = viewer.layers["stack"], viewer.layers["grey"]
    row = panel.image_box.suggestion
    suggest(
        panel,
        place(panel, grey, (None, None), (0, 0, 80, 100), 0.4),
        place(panel, stack, (1, 0, None, None), (80, 0, 160, 100), 0.3),
    )
    viewer.layers.remove(grey)
    (outline,) = outlines(viewer)
    assert outline.ndim == 4
    outline.name = "renamed"
    (model,) = [entry for entry in list_models() if entry.name == "fcrn"]
    panel.session.adopt(model)
    assert outlines(viewer) == []
    assert row.places == []
    suggest(panel, place(panel, stack, (1, 0, None, None), (80, 0, 160, 100), 0.3))
    viewer.layers.remove(outlines(viewer)[0])  # as by a user who does not want to see it
    row.refresh()
    assert outlines(viewer) == []
    assert row.go_button.isEnabled()
    suggest(panel, place(panel, stack, (2, 0, None, None), (80, 0, 160, 100), 0.3))
    assert len(outlines(viewer)) == 1
    viewer.window.remove_dock_widget(panel)
    assert outlines(viewer) == []


def test_what_is_painted_is_not_suggested_and_bad_images_are_reported(
    open_panel: Any, fine_tuned: Any, disc_image: Any, wait_idle: Any
) -> None:
    grey, labels = disc_image
    viewer, panel = open_panel()
    done = viewer.add_image(grey, name="done")
    panel.session.annotations.create(done).data[...] = labels
    panel.session.annotations.set_whole_image(done, True)
    wide = viewer.add_image(np.tile(grey, (1, 4)), name="wide")
    panel.session.annotations.create(wide).data[30:40, 30:40] = 2
    viewer.add_image(np.zeros((50, 50)), name="black")
    panel.image_box.suggestion.ask_button.click()
    wait_idle(panel)
    places = panel.image_box.suggestion.places
    assert len(places) == 3  # four parts side by side, one of them painted in
    assert all(p.source.layer == wide and p.box[1] >= 150 for p in places)
    assert panel.message_bar.kind == WARNING
    assert "'black' is constant" in panel.message_bar.text


def test_it_can_be_cancelled(
    open_panel: Any, qtbot: Any, fine_tuned: Any, disc_image: Any, wait_idle: Any
) -> None:
    viewer, panel = open_panel()
    viewer.add_image(np.stack([disc_image[0]] * 60), name="stack")
    assert len(candidates(panel.session)) == MOST_PLANES
    panel.image_box.suggestion.ask_button.click()
    assert not panel.image_box.suggestion.ask_button.isEnabled()
    bar = panel.finetune_box.progress
    qtbot.waitUntil(lambda: "Comparing views, 1 of 25" in bar.format(), timeout=PATIENCE)
    panel.cancel_button.click()
    wait_idle(panel)
    assert panel.message_bar.kind == INFO
    assert outlines(viewer) == []
    assert panel.session.ranks == {}
