"""The panel's state without a window: layers are added to and removed from a viewer model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_fewshot_cells.base.errors import AnnotationError
from napari_fewshot_cells.models.library import ModelEntry
from napari_fewshot_cells.plugin.layers import add_layer
from napari_fewshot_cells.plugin.layers.brushes import BACKGROUND, CELL, ERASE, brush_in_hand, take_brush
from napari_fewshot_cells.plugin.layers.plane_source import PlaneResult, tally
from napari_fewshot_cells.plugin.layers.sample_data import fluorescent_cells_sample
from napari_fewshot_cells.plugin.session.disabled_reasons import (
    reason_brush_disabled,
    reason_cancel_disabled,
    reason_continue_disabled,
    reason_fine_tune_disabled,
    reason_new_annotation_disabled,
    reason_predict_disabled,
    reason_whole_image_disabled,
)
from napari_fewshot_cells.plugin.session.session import Session
from napari_fewshot_cells.plugin.session.state import ALL_IMAGES, ALL_PLANES

START = ModelEntry("start", Path("start.safetensors"), True)
MINE = ModelEntry("mine", Path("mine.safetensors"), False)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def session(viewer: ViewerModel) -> Session:
    session = Session(viewer)
    session.set_models((START,))
    return session


def grey(shape: tuple[int, ...] = (40, 50)) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def open_sample(viewer: ViewerModel) -> None:
    for data, options, kind in fluorescent_cells_sample():
        getattr(viewer, f"add_{kind}")(data, **options)


def result_for(session: Session, image: Image, labels: np.ndarray) -> PlaneResult:
    numbers = np.unique(labels[labels > 0])
    table = {"index": numbers, "area": np.array([np.sum(labels == n) for n in numbers], float)}
    return PlaneResult(session.source(image), labels, table, {"model": "mine"})


def test_each_step_says_what_is_missing(viewer: ViewerModel) -> None:
    session = Session(viewer)
    for reason in (
        reason_new_annotation_disabled,
        reason_brush_disabled,
        reason_fine_tune_disabled,
        reason_predict_disabled,
    ):
        assert "image" in (reason(session) or "")
    image = viewer.add_image(grey())
    assert reason_new_annotation_disabled(session) is None
    assert "annotation layer" in (reason_brush_disabled(session) or "")
    assert "annotation layer" in (reason_fine_tune_disabled(session) or "")
    assert "annotation layer" in (reason_whole_image_disabled(session) or "")
    session.annotations.create(image)
    assert "annotation layer" in (reason_new_annotation_disabled(session) or "")
    assert reason_brush_disabled(session) is None
    assert reason_whole_image_disabled(session) is None
    assert "PyTorch" in (reason_fine_tune_disabled(session) or "")
    assert "Fine-tune first" in (reason_predict_disabled(session) or "")
    session.set_models(())
    assert "no network" in (reason_fine_tune_disabled(session) or "")
    session.set_models((START,))
    assert reason_fine_tune_disabled(session) is None
    session.adopt(MINE)
    assert reason_predict_disabled(session) is None
    session.choose(running="fine-tuning")
    assert session.busy
    assert "fine-tuning" in (reason_fine_tune_disabled(session) or "")
    assert "fine-tuning" in (reason_predict_disabled(session) or "")
    assert reason_cancel_disabled(session) is None
    session.choose(running=None)
    assert reason_cancel_disabled(session)


def test_three_dimensional_display_is_explained(viewer: ViewerModel, session: Session) -> None:
    session.annotations.create(viewer.add_image(grey((3, 40, 50))))
    session.adopt(MINE)
    viewer.dims.ndisplay = 3
    for reason in (
        reason_fine_tune_disabled,
        reason_predict_disabled,
        reason_brush_disabled,
    ):
        assert "2-D" in (reason(session) or "")


def test_a_new_annotation_lies_exactly_on_its_image(viewer: ViewerModel, session: Session) -> None:
    image = viewer.add_image(
        grey((3, 40, 50)),
        name="stack",
        scale=(2, 0.5, 0.25),
        translate=(1, 2, 3),
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
    )
    labels = session.annotations.create(image)
    assert labels.data.dtype == np.int32
    assert labels.data.shape == (3, 40, 50)
    assert labels.name == "annotation stack"
    for name in ("scale", "translate", "units", "axis_labels"):
        assert np.array_equal(getattr(labels, name), getattr(image, name)), name


def test_sample_annotation_is_linked_by_itself_even_when_opened_twice(
    viewer: ViewerModel, session: Session
) -> None:
    open_sample(viewer)
    open_sample(viewer)
    images, labels = session.annotations.images, session.annotations.labels
    assert [annotation.layer for _, annotation in session.annotations.items()] == labels
    assert [image for image, _ in session.annotations.items()] == images
    assert str(tally(session.painted()[:1])) == "1 image: 8 cells, background painted"


def test_layers_that_were_there_before_the_panel_are_linked(viewer: ViewerModel) -> None:
    open_sample(viewer)
    session = Session(viewer)
    assert session.annotation is not None
    assert session.annotation.layer == viewer.layers[1]


def test_another_shape_is_refused_and_the_old_link_stays(viewer: ViewerModel, session: Session) -> None:
    image = viewer.add_image(grey(), name="photo")
    labels = session.annotations.create(image)
    wrong = viewer.add_labels(np.zeros((10, 12), np.int32), name="wrong")
    with pytest.raises(AnnotationError, match="'wrong' has shape"):
        session.choose_annotation(wrong)
    assert session.annotation is not None
    assert session.annotation.layer == labels


def test_removed_layers_are_forgotten_and_renamed_ones_kept(viewer: ViewerModel, session: Session) -> None:
    first, second = viewer.add_image(grey(), name="a"), viewer.add_image(grey(), name="b")
    labels = session.annotations.create(first)
    first.name, labels.name = "c", "d"
    assert session.annotations.of(first) is not None
    assert session.annotations.of(first).layer == labels
    viewer.layers.remove(labels)
    assert session.annotations.of(first) is None
    session.annotations.create(first)
    viewer.layers.remove(first)
    assert session.annotations.items() == []
    assert session.image == second
    viewer.layers.remove(second)
    assert session.image is None


def test_the_link_survives_closing_and_opening_the_panel(viewer: ViewerModel, session: Session) -> None:
    image = viewer.add_image(grey(), name="a")
    labels = session.annotations.create(image)
    session.annotations.set_whole_image(image, True)
    image.name = "b"
    session.close()
    session.close()
    again = Session(viewer)
    assert again.annotation is not None
    assert again.annotation.layer == labels
    assert again.annotation.whole_image


def test_a_closed_session_ignores_the_viewer(viewer: ViewerModel, session: Session) -> None:
    session.close()
    viewer.add_image(grey())
    assert session.image is None


def test_the_active_layer_is_followed(viewer: ViewerModel, session: Session) -> None:
    first, second = viewer.add_image(grey()), viewer.add_image(grey())
    assert session.image == second
    labels = session.annotations.create(first)
    viewer.layers.selection.active = second
    viewer.layers.selection.active = labels
    assert session.image == first


def test_every_annotated_plane_of_a_stack_is_a_shot(viewer: ViewerModel, session: Session) -> None:
    image = viewer.add_image(grey((5, 40, 50)))
    labels = session.annotations.create(image)
    labels.data[1, 5:9, 5:9], labels.data[4, 5:9, 5:9] = 2, 3
    (painted,) = session.painted()
    planes = [(source.plane, copy) for source, copy in painted.planes()]
    assert [plane for plane, _ in planes] == [(1, None, None), (4, None, None)]
    assert planes[1][1].shape == (40, 50)
    assert not np.shares_memory(planes[1][1], labels.data)
    assert str(tally(session.painted())) == "2 images: 2 cells, no background yet"


def test_planes_follow_the_axes_on_show(viewer: ViewerModel, session: Session) -> None:
    image = viewer.add_image(grey((20, 40, 50)))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, 7)
    assert session.source(image).plane == (None, 7, None)


def test_predict_scopes(viewer: ViewerModel, session: Session) -> None:
    photo = viewer.add_image(grey((40, 50)), name="photo")
    stack = viewer.add_image(grey((5, 40, 50)), name="stack")
    viewer.dims.set_current_step(0, 3)
    session.choose(image=stack)
    assert [source.plane for source in session.targets()] == [(3, None, None)]
    session.choose(scope=ALL_PLANES)
    assert [source.plane[0] for source in session.targets()] == [0, 1, 2, 3, 4]
    session.choose(scope=ALL_IMAGES)
    assert [source.layer for source in session.targets()] == [photo] + [stack] * 5


def test_models_are_found_by_name_and_a_choice_falls_back_if_its_model_is_gone(session: Session) -> None:
    assert reason_continue_disabled(session)
    session.adopt(MINE)
    assert reason_continue_disabled(session) is None
    assert session.entry("mine") == MINE
    session.set_models((START,))
    assert session.model is None
    assert session.entry("mine") is None


def test_brushes(viewer: ViewerModel, session: Session) -> None:
    labels = session.annotations.create(viewer.add_image(grey((640, 640))))
    take_brush(viewer, labels, CELL)
    assert (labels.mode, labels.selected_label, labels.brush_size) == ("paint", 2, 10)
    assert viewer.layers.selection.active == labels
    labels.paint((20, 20), 2)
    take_brush(viewer, labels, CELL)
    assert labels.selected_label == 3
    assert brush_in_hand(viewer, labels) == CELL
    take_brush(viewer, labels, BACKGROUND)
    assert (labels.selected_label, brush_in_hand(viewer, labels)) == (1, BACKGROUND)
    take_brush(viewer, labels, ERASE)
    assert brush_in_hand(viewer, labels) == ERASE
    labels.mode = "pan_zoom"
    assert brush_in_hand(viewer, labels) is None


def test_results_are_updated_in_place_with_their_table(viewer: ViewerModel, session: Session) -> None:
    image = viewer.add_image(grey(), scale=(0.5, 0.5), translate=(3, 4), units=("um", "um"), name="photo")
    annotation = session.annotations.create(image)
    found = np.zeros((40, 50), np.int32)
    found[3:9, 3:9] = 1
    layer = session.show(result_for(session, image, found))
    assert isinstance(layer, Labels)
    assert (layer.name, layer.data.dtype) == ("cells photo", np.int32)
    for name in ("scale", "translate", "units", "axis_labels"):
        assert np.array_equal(getattr(layer, name), getattr(image, name)), name
    assert viewer.layers.selection.active == annotation  # the brush stays on the annotation
    assert layer.features["area"].tolist() == [36.0]
    assert layer.metadata["napari_fewshot_cells"] == {"model": "mine"}
    found[20:22, 20:22] = 2
    assert session.show(result_for(session, image, found)) == layer
    assert layer.features["index"].tolist() == [1, 2]
    assert np.array_equal(layer.data, found)
    viewer.layers.remove(layer)
    again = session.show(result_for(session, image, found))
    assert again != layer
    assert again in viewer.layers


def test_a_result_does_not_change_the_chosen_image(viewer: ViewerModel, session: Session) -> None:
    first, second = viewer.add_image(grey()), viewer.add_image(grey())
    annotation = session.annotations.create(first)
    viewer.layers.selection.active = annotation
    session.choose(image=second)
    session.show(result_for(session, second, np.ones((40, 50), np.int32)))
    assert session.image == second
    assert viewer.layers.selection.active == annotation


def test_what_a_person_painted_is_never_overwritten(viewer: ViewerModel, session: Session) -> None:
    image = viewer.add_image(grey(), name="photo")
    found = np.zeros((40, 50), np.int32)
    found[3:9, 3:9] = 1
    corrected = session.show(result_for(session, image, found))
    corrected.paint((30, 30), 5)
    after = session.show(result_for(session, image, found))
    assert after != corrected
    assert corrected.data[30, 30] == 5
    session.choose(image=image)
    session.choose_annotation(after)  # label 1 is a cell in a prediction, so 0 must be background
    assert session.annotation is not None
    assert session.annotation.whole_image
    assert session.show(result_for(session, image, found)) != after


def test_planes_of_a_stack_share_one_layer_and_unique_labels(viewer: ViewerModel, session: Session) -> None:
    image = viewer.add_image(grey((4, 40, 50)))
    found = np.zeros((40, 50), np.int32)
    found[3:9, 3:9], found[20:25, 20:25] = 1, 2
    for step in (1, 3, 1):
        viewer.dims.set_current_step(0, step)
        layer = session.show(result_for(session, image, found))
    assert layer.data.shape == (4, 40, 50)
    assert [bool(plane.any()) for plane in layer.data] == [False, True, False, True]
    assert sorted(layer.features["index"]) == sorted(np.unique(layer.data[layer.data > 0]))
    assert sorted(layer.features["plane-0"]) == [1, 1, 3, 3]


def test_a_result_for_a_removed_image_is_dropped(viewer: ViewerModel, session: Session) -> None:
    image = viewer.add_image(grey())
    result = result_for(session, image, np.zeros((40, 50), np.int32))
    viewer.layers.remove(image)
    assert session.show(result) is None
    assert len(viewer.layers) == 0


def test_an_array_gets_its_memory_in_pieces_and_keeps_what_is_written_meanwhile(
    qtbot: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(add_layer, "_TOUCHED", 20)
    data = np.zeros((7, 10), np.int32)
    add_layer.touch(data)
    data[5] = 3
    qtbot.wait(20 * add_layer.FRAME)  # type: ignore[attr-defined]
    assert data.sum() == 30
