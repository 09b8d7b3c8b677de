"""The table of images in a real viewer: rows and their states, clicks, channels, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QPoint, Qt
from skimage import io

from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.plugin.session.messages import DONE, ERROR
from napari_fewshot_cells.plugin.session.state import ALL_IMAGES, ALL_PLANES
from napari_fewshot_cells.plugin.widgets.image_table import ANNOTATED, FOUND, MOST_ROWS, NAME

from ..conftest import PATIENCE


def names(panel: Any) -> list[str]:
    return [row.name for row in panel.image_box.table.rows]


def text(panel: Any, name: str, column: int) -> str:
    table = panel.image_box.table
    return table.model().index(names(panel).index(name), column).data()


def press(qtbot: Any, panel: Any, name: str) -> None:
    table = panel.image_box.table
    index = table.model().index(names(panel).index(name), NAME)
    table.scrollTo(index)
    middle = table.visualRect(index).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(middle))


@pytest.fixture
def four(open_panel: Any, disc_image: Any, fine_tuned: Any) -> Any:
    """A viewer with a grey image, an RGB image, a stack and an image with channels; and its panel."""
    grey, _ = disc_image
    unit = (grey - grey.min()) / np.ptp(grey)
    viewer, panel = open_panel()
    viewer.add_image(grey, name="grey")
    viewer.add_image(np.stack([unit, 1 - unit, unit], -1), name="colour", rgb=True)
    viewer.add_image(np.stack([grey, grey[::-1], grey]), name="stack", axis_labels=("z", "y", "x"))
    viewer.add_image(np.stack([grey, grey[::-1]]), name="channels", axis_labels=("c", "y", "x"))
    viewer.dims.set_current_step(0, 1)
    return viewer, panel


def test_rows_come_and_go_with_layers_and_follow_their_names(four: Any) -> None:
    viewer, panel = four
    assert names(panel) == ["grey", "colour", "stack, plane 1", "channels"]
    viewer.dims.set_current_step(0, 2)
    assert names(panel) == ["grey", "colour", "stack, plane 2", "channels"]
    viewer.layers["grey"].name = "new name"
    viewer.layers.remove("colour")
    assert names(panel) == ["new name", "stack, plane 2", "channels"]
    viewer.layers.clear()
    assert names(panel) == []
    assert "Open an image" in panel.image_box.facts.text()


def test_at_most_five_rows_are_seen_and_none_is_cut_off_sideways(four: Any, qtbot: Any) -> None:
    viewer, panel = four
    table = panel.image_box.table
    for n in range(6):
        viewer.add_image(np.zeros((40, 40)), name=f"an image with a rather long name, number {n}")
    panel.window().show()
    qtbot.wait(200)
    assert len(names(panel)) == 10
    assert table.viewport().height() == MOST_ROWS * table.rowHeight(0)
    assert table.horizontalHeader().length() <= table.viewport().width()
    # the last image added is in view
    assert table.visualRect(table.model().index(9, NAME)).bottom() <= table.viewport().height()


def test_every_row_gets_a_picture(four: Any, qtbot: Any) -> None:
    _, panel = four
    model = panel.image_box.table.model()

    def pictures() -> list[Any]:
        return [model.index(row, NAME).data(Qt.ItemDataRole.DecorationRole) for row in range(4)]

    qtbot.waitUntil(lambda: all(picture is not None for picture in pictures()), timeout=PATIENCE)
    for picture in pictures():
        assert (picture.width(), picture.height()) == (25, 20)


def test_painting_changes_the_state_and_a_painted_plane_keeps_its_row(
    four: Any, qtbot: Any, annotated: Any
) -> None:
    viewer, panel = four
    panel.session.choose(image=viewer.layers["stack"])
    viewer.dims.set_current_step(0, 1)
    panel.annotation_box.new_button.click()
    labels = panel.session.annotation.layer
    assert text(panel, "stack, plane 1", ANNOTATED) == "no"
    labels.brush_size = 12
    labels.paint((1, 40, 30), 2)

    def shows(state: str) -> Any:
        return lambda: text(panel, "stack, plane 1", ANNOTATED) == state

    qtbot.waitUntil(shows("partly, 1"), timeout=PATIENCE)
    assert "background" in panel.image_box.table.rows[2].description
    labels.paint((1, 80, 100), 1)
    qtbot.waitUntil(shows("1 cell"), timeout=PATIENCE)
    viewer.dims.set_current_step(0, 0)
    assert names(panel)[2:4] == ["stack, plane 0", "stack, plane 1"]
    labels.undo()
    labels.undo()
    qtbot.waitUntil(lambda: "stack, plane 1" not in names(panel), timeout=PATIENCE)


@pytest.mark.both_bindings
def test_a_click_goes_there(four: Any, qtbot: Any) -> None:
    viewer, panel = four
    stack, grey = viewer.layers["stack"], viewer.layers["grey"]
    labels = panel.session.annotations.create(stack)
    labels.data[2, 30:40, 30:40] = 2
    labels.refresh()
    viewer.dims.set_current_step(0, 2)
    painted = "stack, plane 2"
    qtbot.waitUntil(lambda: text(panel, painted, ANNOTATED) == "partly, 1", timeout=PATIENCE)
    viewer.dims.set_current_step(0, 0)
    viewer.camera.center = (0, 900, 900)

    press(qtbot, panel, "grey")
    assert panel.session.image == grey
    assert viewer.layers.selection.active == grey
    assert viewer.camera.center[-2:] == pytest.approx((79.5, 99.5))
    # images that would cover it are hidden
    assert [layer for layer in viewer.layers if layer.visible] == [grey]

    press(qtbot, panel, painted)
    assert panel.session.image == stack
    assert viewer.layers.selection.active == labels
    assert viewer.dims.current_step[0] == 2
    assert [layer for layer in viewer.layers if layer.visible] == [stack, labels]
    assert panel.image_box.table.currentIndex().row() == names(panel).index(painted)


def test_what_a_person_hid_stays_hidden_and_what_is_beside_stays_in_view(four: Any, qtbot: Any) -> None:
    viewer, panel = four
    grey = viewer.layers["grey"]
    labels = panel.session.annotations.create(grey)
    labels.visible = False
    beside = viewer.add_image(np.random.default_rng(0).random((50, 50)), name="beside", translate=(0, 500))
    glow = viewer.add_image(np.random.default_rng(0).random((50, 50)), name="glow", blending="additive")
    press(qtbot, panel, "colour")
    press(qtbot, panel, "grey")
    assert not labels.visible
    assert beside.visible
    assert glow.visible


def test_a_row_whose_layer_has_just_gone_does_nothing(four: Any) -> None:
    viewer, panel = four
    row = panel.image_box.table.rows[0]
    viewer.layers.remove("grey")
    panel.image_box.table.chosen.emit(row)
    assert panel.session.image in viewer.layers


def test_all_planes_and_all_images_are_predicted_and_counted(four: Any, qtbot: Any, wait_idle: Any) -> None:
    viewer, panel = four
    stack = viewer.layers["stack"]
    panel.session.choose(image=stack, scope=ALL_PLANES)
    panel.predict_button.click()
    wait_idle(panel)
    cells = viewer.layers["cells stack"]
    assert set(cells.metadata["napari_fewshot_cells"]["planes"]) == {(0,), (1,), (2,)}
    shown = viewer.dims.current_step[0]
    found = int(np.count_nonzero(np.unique(cells.data[shown])))
    assert text(panel, f"stack, plane {shown}", FOUND) == str(found)
    assert text(panel, "grey", FOUND) == ""
    panel.session.choose(scope=ALL_IMAGES)
    panel.predict_button.click()
    wait_idle(panel)
    assert panel.message_bar.kind == DONE, panel.message_bar.text
    assert viewer.layers["cells channels"].data.shape == (1, 160, 200)
    assert viewer.layers["cells colour"].data.shape == (160, 200)
    assert text(panel, "channels", FOUND) == str(len(viewer.layers["cells channels"].features))
    assert viewer.layers["cells channels"].metadata["napari_fewshot_cells"]["channel"].startswith("best mix")
    viewer.layers.remove("cells channels")
    assert text(panel, "channels", FOUND) == ""


def test_one_annotation_shows_on_every_channel(four: Any, qtbot: Any) -> None:
    viewer, panel = four
    panel.session.choose(image=viewer.layers["channels"])
    panel.annotation_box.new_button.click()
    labels = panel.session.annotation.layer
    assert labels.data.shape == (1, 160, 200)
    for channel in (0, 1):
        viewer.dims.set_current_step(0, channel)
        world = (viewer.dims.point[0], 40.0, 30.0)
        assert np.round(labels.world_to_data(world)).tolist() == [0, 40, 30]
    labels.paint((0, 40, 30), 2)
    labels.paint((0, 80, 100), 1)
    qtbot.waitUntil(lambda: text(panel, "channels", ANNOTATED) == "1 cell", timeout=PATIENCE)
    assert panel.session.tally.planes == 1


def test_the_channel_row_is_there_only_if_there_are_channels(four: Any) -> None:
    viewer, panel = four
    box = panel.image_box
    for name, options in (
        ("grey", None),
        ("colour", ["red", "green", "blue"]),
        ("stack", None),
        ("channels", ["channel 0", "channel 1"]),
    ):
        panel.session.choose(image=viewer.layers[name])
        assert box.channel_row.isVisibleTo(panel) == (options is not None)
        if options is not None:
            shown = [box.channel_choice.itemText(i) for i in range(box.channel_choice.count())]
            assert shown == ["best mix from the annotation", *options]


@pytest.mark.parametrize(("chosen", "n_weights"), [(0, 2), (2, 1)])
def test_the_chosen_channel_is_learnt_predicted_and_noted(
    open_panel: Any,
    qtbot: Any,
    quick_start: Any,
    disc_image: Any,
    annotated: Any,
    wait_idle: Any,
    chosen: int,
    n_weights: int,
) -> None:
    grey, truth = disc_image
    noise = np.random.default_rng(1).normal(0, 0.1, grey.shape).astype(np.float32)
    viewer, panel = open_panel(recipe=Recipe(steps=16, crops=4, crop_size=64))
    # dark discs in a channel of their own, which the mean of both channels does not show
    image = viewer.add_image(np.stack([grey, noise - grey]), name="two", axis_labels=("c", "y", "x"))
    combo = panel.image_box.channel_choice
    combo.activated.emit(chosen)
    panel.annotation_box.new_button.click()
    labels = panel.session.annotation.layer
    labels.data[0] = annotated
    labels.refresh()
    panel.fine_tune_button.click()
    wait_idle(panel)
    assert panel.message_bar.kind == DONE, panel.message_bar.text
    cells = panel.session.results.of(image)
    noted = cells.metadata["napari_fewshot_cells"]
    card = load_model(noted["model"]).card
    assert len(card.mix) == len(noted["mix"]) == n_weights
    assert card.mix[-1] < 0
    assert noted["channel"] == ("channel 1" if chosen else "best mix from the annotation")
    assert noted["shots"] == ("two [channel 1]" if chosen else "two",)
    found = cells.data[0] > 0
    # chance level is 0.08, the share of the image that discs cover
    assert (found & (truth > 0)).sum() / (found | (truth > 0)).sum() > 0.25


def test_the_choice_waits_for_a_job_and_stays_with_the_layer(four: Any) -> None:
    viewer, panel = four
    combo, session = panel.image_box.channel_choice, panel.session
    session.choose(image=viewer.layers["channels"])
    combo.activated.emit(2)
    session.choose(image=viewer.layers["colour"])
    assert combo.currentIndex() == 0
    session.choose(image=viewer.layers["channels"])
    assert combo.currentText() == "channel 1"
    session.choose(running="predicting")
    assert not combo.isEnabled()
    assert "predicting" in combo.toolTip()
    session.choose(running=None)


def test_channels_as_a_side_of_the_picture_are_explained(four: Any) -> None:
    viewer, panel = four
    panel.session.choose(image=viewer.layers["channels"])
    viewer.dims.order = (1, 0, 2)
    assert not panel.predict_button.isEnabled()
    assert "channels of 'channels'" in panel.predict_button.toolTip()


# --- files


@pytest.fixture
def folder(tmp_path: Path, disc_image: Any) -> Path:
    grey, _ = disc_image
    eight_bit = np.clip(grey * 150 + 50, 0, 255).astype(np.uint8)
    io.imsave(tmp_path / "a.png", eight_bit, check_contrast=False)
    io.imsave(tmp_path / "b.png", np.stack([eight_bit] * 3, -1), check_contrast=False)
    tifffile.imwrite(
        tmp_path / "c.ome.tif",
        np.stack([grey] * 6).reshape(3, 2, *grey.shape),
        metadata={"axes": "ZCYX", "Channel": {"Name": ["DAPI", "actin"]}},
    )
    (tmp_path / "d.tif").write_bytes(b"II*\0 not really")
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_files_are_listed_at_once_and_opened_on_click(open_panel: Any, qtbot: Any, folder: Path) -> None:
    viewer, panel = open_panel()
    panel.image_box.files.add([folder])
    qtbot.waitUntil(lambda: names(panel) == ["a.png", "b.png", "c.ome.tif", "d.tif"], timeout=PATIENCE)
    assert len(viewer.layers) == 0
    assert text(panel, "a.png", ANNOTATED) == "not open"
    press(qtbot, panel, "c.ome.tif")
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=PATIENCE)
    (stack,) = viewer.layers
    assert stack.axis_labels == ("z", "c", "y", "x")
    assert panel.session.image == stack
    combo = panel.image_box.channel_choice
    assert [combo.itemText(i) for i in (1, 2)] == ["DAPI", "actin"]
    assert sorted(names(panel)) == ["a.png", "b.png", "c.ome, plane 1", "d.tif"]
    press(qtbot, panel, "d.tif")
    qtbot.waitUntil(lambda: panel.message_bar.kind == ERROR, timeout=PATIENCE)
    assert "'d.tif' cannot be read" in panel.message_bar.text
    assert "d.tif" not in names(panel)
    panel.image_box.open_action.trigger()
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=PATIENCE)
    assert viewer.layers["b"].rgb
    qtbot.waitUntil(lambda: not panel.image_box.open_action.isEnabled(), timeout=PATIENCE)


def test_a_folder_without_images_is_reported(open_panel: Any, qtbot: Any, tmp_path: Path) -> None:
    _, panel = open_panel()
    panel.image_box.files.add([tmp_path])
    qtbot.waitUntil(lambda: panel.message_bar.kind == ERROR, timeout=PATIENCE)
    assert "holds no image" in panel.message_bar.text


def test_the_panel_may_close_while_a_file_is_read(open_panel: Any, qtbot: Any, folder: Path) -> None:
    viewer, panel = open_panel()
    panel.image_box.files.add([folder])
    qtbot.waitUntil(lambda: len(names(panel)) == 4, timeout=PATIENCE)
    panel.image_box.files.open(*panel.image_box.files.paths)
    panel.close_session()
    qtbot.wait(300)
    assert len(viewer.layers) == 0
