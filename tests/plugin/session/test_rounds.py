"""What goes with a run, in a real viewer: history, score, comparison, preview."""

from __future__ import annotations

import gc
import re
import time
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QAbstractButton

from napari_fewshot_cells.base.errors import ImageError
from napari_fewshot_cells.finetune import scoring
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.finetune.scoring import Agreement
from napari_fewshot_cells.models.library import delete_model, list_models, load_model
from napari_fewshot_cells.plugin.jobs import preview_job
from napari_fewshot_cells.plugin.jobs.preview_job import Preview
from napari_fewshot_cells.plugin.layers.planes import geometry_of, place_on
from napari_fewshot_cells.plugin.session.messages import DONE, WARNING
from napari_fewshot_cells.plugin.session.preview_layer import PreviewLayer
from napari_fewshot_cells.plugin.session.session import Session
from napari_fewshot_cells.plugin.widgets.image_table import SCORE

from ..conftest import PATIENCE

LEARNS = Recipe(steps=12, steps_per_shot=0, crops=4, crop_size=64)
NOTHING = replace(LEARNS, steps=1, lr=0)
LONG = Recipe(steps=10_000, crops=1, crop_size=64)


def click(qtbot: Any, button: QAbstractButton) -> None:
    assert button.isEnabled(), button.toolTip()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def click_run(qtbot: Any, panel: Any, row: int) -> None:
    """Click on a row of the history; row 0 is the newest run."""
    runs = panel.history_box.list
    assert runs.isEnabled(), runs.toolTip()
    place = runs.visualItemRect(runs.topLevelItem(row)).center()
    qtbot.mouseClick(runs.viewport(), Qt.MouseButton.LeftButton, pos=place)


@pytest.fixture
def annotated_image(open_panel: Any, quick_start: Any, disc_image: Any, annotated: Any) -> Any:
    """A viewer and a panel with an annotated image, ready to fine-tune."""

    def opened(recipe: Recipe, *, images: int = 1) -> Any:
        viewer, panel = open_panel(recipe=recipe)
        panel.session.choose(preview=False)
        for number in range(images):
            image = viewer.add_image(
                disc_image[0][:, ::-1] if number else disc_image[0], name=f"discs {number}"
            )
            labels = panel.session.annotations.create(image)
            labels.data[...] = annotated[:, ::-1] if number else annotated
            labels.refresh()
        return viewer, panel

    return opened


@pytest.fixture
def press(qtbot: Any, wait_idle: Any) -> Any:
    def press_button(panel: Any, recipe: Recipe | None = None) -> str:
        """Fine-tune, wait until the model is scored, and return its name."""
        if recipe is not None:
            panel.session.choose(recipe=recipe)
        known = {entry.name for entry in list_models()}
        click(qtbot, panel.fine_tune_button)
        wait_idle(panel)
        settled(qtbot, panel)
        (new,) = {entry.name for entry in list_models()} - known
        return new

    return press_button


def settled(qtbot: Any, panel: Any) -> None:
    rounds = panel.rounds
    qtbot.waitUntil(lambda: not rounds.measuring and rounds._unscored is None, timeout=PATIENCE)


def objects(panel: Any, number: int = 0) -> np.ndarray:
    image = panel.session.annotations.images[number]
    return np.asarray(panel.session.results.of(image).data > 0)


def scores(panel: Any) -> list[str]:
    """The score column of the table of images, if it is shown."""
    table = panel.image_box.table
    assert not table.isColumnHidden(SCORE)
    return [table.model().index(row, SCORE).data() for row in range(len(table.rows))]


def rows(panel: Any) -> list[list[str]]:
    runs = panel.history_box.list
    return [[runs.topLevelItem(i).text(c) for c in range(3)] for i in range(runs.topLevelItemCount())]


# --- history


@pytest.mark.both_bindings
def test_two_runs_are_two_entries_and_a_click_compares(
    annotated_image: Any, qtbot: Any, press: Any, wait_idle: Any
) -> None:
    viewer, panel = annotated_image(LEARNS)
    assert panel.history_box.isHidden()
    first = press(panel)
    before = objects(panel)
    assert not panel.history_box.isHidden()
    panel.session.choose(diameter=60.0)
    second = press(panel, replace(LEARNS, steps=14))
    after = objects(panel)
    assert [run.model for run in panel.rounds.history.runs] == [first, second]
    assert not np.array_equal(before, after)
    assert panel.session.model.name == second
    assert [row[0].startswith("● ") for row in rows(panel)] == [True, False]
    assert [row[1] for row in rows(panel)] == ["1", "1"]
    assert all(row[2].endswith("% painted") for row in rows(panel))

    click_run(qtbot, panel, 1)
    wait_idle(panel)
    assert np.array_equal(objects(panel), before)
    assert panel.session.model.name == second  # showing a run does not change the model in use
    assert "Shown: the run of" in panel.history_box.shown_line.text()
    assert panel.session.results.of(panel.session.image).metadata["napari_fewshot_cells"]["model"] == first
    click_run(qtbot, panel, 0)
    wait_idle(panel)
    assert np.array_equal(objects(panel), after)
    assert panel.history_box.shown_line.text() == ""

    click_run(qtbot, panel, 1)
    wait_idle(panel)
    click(qtbot, panel.history_box.restore_button)
    wait_idle(panel)
    assert panel.session.model.name == first
    assert [row[0].startswith("● ") for row in rows(panel)] == [False, True]
    assert panel.history_box.restore_button.toolTip() == "This model is in use."
    assert len([layer for layer in viewer.layers if layer.name.startswith("cells")]) == 1


def test_a_dropped_prediction_is_made_again(
    annotated_image: Any, qtbot: Any, press: Any, wait_idle: Any
) -> None:
    _, panel = annotated_image(LEARNS)
    press(panel)
    before = objects(panel)
    panel.session.choose(diameter=60.0)
    press(panel, replace(LEARNS, steps=14))
    panel.rounds.history._most_bytes = 1
    panel.rounds.history.keep(panel.rounds.history.predictions(panel.session.model.name)[0])
    (first, _) = panel.rounds.history.runs
    assert panel.rounds.history.predictions(first.model) == ()
    click_run(qtbot, panel, 1)
    wait_idle(panel)
    assert np.array_equal(objects(panel), before)


def test_a_model_from_the_library_stays_reachable(
    annotated_image: Any, qtbot: Any, fine_tuned: Any, press: Any, wait_idle: Any
) -> None:
    _, panel = annotated_image(LEARNS)
    assert panel.session.model.name == "ready"
    press(panel)
    assert panel.rounds.history.runs[0].model == "ready"
    click_run(qtbot, panel, 1)
    wait_idle(panel)
    assert panel.rounds.history.shown == "ready"
    click(qtbot, panel.history_box.restore_button)
    assert panel.session.model.name == "ready"


def test_a_run_whose_model_is_gone_says_so(annotated_image: Any, qtbot: Any, press: Any) -> None:
    _, panel = annotated_image(LEARNS)
    first = press(panel)
    press(panel)
    delete_model(first)
    panel.session.set_models(tuple(list_models()))
    click_run(qtbot, panel, 1)
    assert not panel.session.busy
    assert "no longer in the library" in panel.history_box.restore_button.toolTip()


def test_a_removed_image_leaves_the_history_usable(
    annotated_image: Any, qtbot: Any, press: Any, wait_idle: Any
) -> None:
    viewer, panel = annotated_image(LEARNS, images=2)
    first = press(panel)
    press(panel)
    assert len(panel.rounds.history.predictions(first)) == 2
    viewer.layers.remove("discs 0")
    assert len(panel.rounds.history.predictions(first)) == 1
    click_run(qtbot, panel, 1)
    wait_idle(panel)
    assert panel.message_bar.kind == DONE
    viewer.layers.clear()
    assert panel.rounds.history.predictions(first) == ()


# --- the score


def test_the_score_of_one_shot_says_that_it_was_trained_on(annotated_image: Any, press: Any) -> None:
    viewer, panel = annotated_image(LEARNS)
    viewer.add_image(np.random.default_rng(0).random((50, 50)), name="not annotated")
    assert panel.image_box.table.isColumnHidden(SCORE)
    name = press(panel)
    score = panel.rounds.history.runs[-1].score
    assert scores(panel) == [re.search(r"\d+ %", score).group(), ""]
    assert "agrees with" in panel.image_box.table.rows[0].description
    assert score.startswith("Agrees with ")
    assert score.endswith("% of what you painted (that says little: it was trained on it)")
    assert score in panel.history_box.score_line.text()
    assert load_model(name).card.score == score
    assert panel.session.entry(name).card.score == score


@pytest.mark.both_bindings
def test_two_shots_are_left_out_in_turn_after_the_masks(
    annotated_image: Any, qtbot: Any, wait_idle: Any
) -> None:
    viewer, panel = annotated_image(LEARNS, images=2)
    click(qtbot, panel.fine_tune_button)
    wait_idle(panel)
    assert objects(panel, 0).any()
    assert objects(panel, 1).any()
    assert panel.message_bar.kind == DONE
    assert panel.rounds.history.runs[-1].score == ""  # the masks are there, the score is not yet
    assert panel.rounds.measuring
    qtbot.waitUntil(lambda: "left-out image" in panel.history_box.score_line.text(), timeout=PATIENCE)
    settled(qtbot, panel)
    score = panel.rounds.history.runs[-1].score
    assert re.match(r"Left-out images: [01]\.\d\d IoU", score)
    assert "IoU on average of 2 (short trainings without them: 5 of 12 steps)" in score
    assert rows(panel)[0][2].endswith("left out")
    each = scores(panel)
    assert float(re.search(r"[01]\.\d\d", score).group()) == pytest.approx(
        np.mean([float(score) for score in each]), abs=0.006
    )
    assert (
        f"an IoU of {each[0]}, after a short training without it" in panel.image_box.table.rows[0].description
    )
    viewer.layers.remove("discs 0")
    assert scores(panel) == each[1:]
    assert len(panel.session.scores) == 1
    assert panel.session.entry(panel.session.model.name).card.score == score


def test_scoring_can_be_stopped(annotated_image: Any, qtbot: Any, wait_idle: Any) -> None:
    _, panel = annotated_image(LEARNS, images=2)
    click(qtbot, panel.fine_tune_button)
    wait_idle(panel)
    click(qtbot, panel.history_box.skip_button)
    settled(qtbot, panel)
    assert panel.rounds.history.runs[-1].score == ""
    assert "not measured" in panel.history_box.score_line.text()
    assert panel.history_box.skip_button.toolTip() == "Nothing is being measured."


def test_scoring_stops_for_a_prediction_and_starts_again(
    annotated_image: Any, qtbot: Any, wait_idle: Any
) -> None:
    _, panel = annotated_image(LEARNS, images=2)
    click(qtbot, panel.fine_tune_button)
    wait_idle(panel)
    assert panel.rounds.measuring
    click(qtbot, panel.predict_button)
    wait_idle(panel)
    settled(qtbot, panel)
    assert panel.rounds.history.runs[-1].score.startswith("Left-out images")


def test_closing_while_scoring_leaves_no_thread(annotated_image: Any, qtbot: Any, wait_idle: Any) -> None:
    viewer, panel = annotated_image(LEARNS, images=2)
    click(qtbot, panel.fine_tune_button)
    wait_idle(panel)
    worker = panel.rounds._scorer._worker
    assert worker is not None
    viewer.window.remove_dock_widget(panel)
    qtbot.waitUntil(lambda: not worker.is_running, timeout=20_000)


def test_a_failed_score_is_reported(
    annotated_image: Any, press: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ImageError("'discs 0' is constant.")
        yield

    _, panel = annotated_image(LEARNS)
    monkeypatch.setattr(scoring, "score", refuse)
    press(panel)
    assert panel.message_bar.kind == WARNING
    assert "could not be scored: 'discs 0' is constant." in panel.message_bar.text


# --- a worse model


def test_a_worse_model_is_offered_but_not_used(
    annotated_image: Any, qtbot: Any, press: Any, wait_idle: Any
) -> None:
    _, panel = annotated_image(LEARNS)
    good = press(panel)
    before = objects(panel)
    assert panel.history_box.offer.isHidden()
    bad = press(panel, NOTHING)  # learns nothing, so it equals the start
    assert panel.session.model.name == good
    assert np.array_equal(objects(panel), before)
    assert panel.message_bar.kind == WARNING
    assert "agrees less with your annotation" in panel.message_bar.text
    assert f"'{good}' stays in use" in panel.message_bar.text
    assert not panel.history_box.offer.isHidden()
    assert bad in {entry.name for entry in list_models()}

    click_run(qtbot, panel, 0)  # look at it before deciding
    wait_idle(panel)
    assert not np.array_equal(objects(panel), before)
    assert panel.session.model.name == good
    click(qtbot, panel.history_box.old_button)
    wait_idle(panel)
    assert np.array_equal(objects(panel), before)
    assert panel.history_box.offer.isHidden()

    worse = press(panel, replace(NOTHING, steps=2))
    click(qtbot, panel.history_box.new_button)
    wait_idle(panel)
    assert panel.session.model.name == worse
    assert panel.history_box.offer.isHidden()
    assert not np.array_equal(objects(panel), before)


def test_a_better_model_is_used(annotated_image: Any, press: Any) -> None:
    _, panel = annotated_image(NOTHING)
    press(panel)
    better = press(panel, LEARNS)
    assert panel.session.model.name == better
    assert panel.history_box.offer.isHidden()
    assert panel.message_bar.kind == DONE


def test_an_offer_lapses_with_the_next_run(
    annotated_image: Any, press: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreements = iter([Agreement(0.9, 0.9, (0.9,)), Agreement(0.5, 0.5, (0.5,))])

    def agree(*_: Any, **__: Any) -> Any:
        return next(agreements, Agreement(0.9, 0.9, (0.9,)))
        yield

    _, panel = annotated_image(NOTHING)
    press(panel, LEARNS)
    monkeypatch.setattr(scoring, "agreement", agree)
    press(panel)
    assert panel.rounds.history.offered
    newest = press(panel)
    assert panel.rounds.history.offered is None
    assert panel.session.model.name == newest


def test_a_damaged_old_model_does_not_lose_the_new_one(
    annotated_image: Any, fine_tuned: Any, press: Any
) -> None:
    _, panel = annotated_image(LEARNS)
    panel.session.model.path.write_bytes(b"damaged")
    new = press(panel)
    assert panel.session.model.name == new
    assert panel.message_bar.kind == WARNING
    assert "could not be compared with 'ready'" in panel.message_bar.text


# --- continuing from the last model


def test_continue_from_the_last_model(annotated_image: Any, qtbot: Any, press: Any) -> None:
    _, panel = annotated_image(LEARNS)
    check = panel.finetune_box.continue_check
    assert not check.isEnabled()
    assert "Fine-tune first" in check.toolTip()
    first = press(panel)
    assert not check.isChecked()
    second = press(panel)
    assert load_model(second).card.parent == load_model(first).card.parent == "quick start"
    check.click()
    third = press(panel)
    assert load_model(third).card.parent == panel.rounds.history.runs[1].model == second
    # the last model may have seen the held-out shot, so nothing is held out
    assert load_model(third).card.score.startswith("Agrees with")


# --- the preview


def preview_layers(viewer: Any) -> list[Any]:
    """The preview layers on show."""
    return [layer for layer in viewer.layers if layer.name.startswith("preview ") and layer.visible]


@pytest.fixture
def previewed(annotated_image: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Viewer, panel and preview layer of a training that never ends."""

    def begun(**options: Any) -> Any:
        monkeypatch.setattr(preview_job, "INTERVAL", 0.2)
        monkeypatch.setattr(preview_job, "TIME_SHARE", 0.5)
        viewer, panel = annotated_image(LONG, **options)
        panel.finetune_box.preview_check.click()
        click(qtbot, panel.fine_tune_button)
        qtbot.waitUntil(lambda: bool(preview_layers(viewer)), timeout=PATIENCE)
        return viewer, panel, preview_layers(viewer)[0]

    return begun


@pytest.mark.both_bindings
def test_a_preview_shows_what_is_being_learnt(
    previewed: Any, qtbot: Any, disc_image: Any, wait_idle: Any
) -> None:
    viewer, panel, layer = previewed()
    image = viewer.layers["discs 0"]
    assert layer not in panel.session.annotations.labels  # not one of the user's layers
    assert panel.session.annotations.images == [image]
    assert viewer.layers.selection.active != layer
    assert viewer.layers.index(layer) == viewer.layers.index(image) + 1
    drawn = []
    layer.events.data.connect(lambda: drawn.append(layer.data.copy()))
    qtbot.waitUntil(lambda: len(drawn) >= 3, timeout=PATIENCE)
    cells = disc_image[1] > 0
    corner = np.round(np.asarray(layer.translate) - image.translate).astype(int)
    seen = cells[tuple(slice(c, c + s) for c, s in zip(corner, layer.data.shape, strict=True))]
    assert drawn[-1].shape == seen.shape
    assert drawn[-1][seen].mean() > drawn[-1][~seen].mean() + 0.2
    viewer.layers.selection.active = layer  # selecting it does not change what is trained on
    assert panel.session.image == image
    click(qtbot, panel.finetune_box.keep_button)
    wait_idle(panel)
    assert preview_layers(viewer) == []
    assert objects(panel).any()


def test_a_preview_goes_when_the_training_is_cancelled(previewed: Any, qtbot: Any, wait_idle: Any) -> None:
    viewer, panel, _ = previewed()
    layers = list(viewer.layers)
    click(qtbot, panel.cancel_button)
    wait_idle(panel)
    assert preview_layers(viewer) == []
    assert [layer for layer in viewer.layers if layer in layers] == layers


def test_a_preview_goes_with_its_image(previewed: Any, qtbot: Any, wait_idle: Any) -> None:
    viewer, panel, _ = previewed()
    viewer.layers.remove("discs 0")
    assert preview_layers(viewer) == []
    qtbot.wait(600)
    assert preview_layers(viewer) == []
    click(qtbot, panel.cancel_button)
    wait_idle(panel)


def test_a_preview_that_was_deleted_stays_away(previewed: Any, qtbot: Any, wait_idle: Any) -> None:
    viewer, panel, layer = previewed()
    viewer.layers.remove(layer)
    steps = len(panel.finetune_box.curve.losses)
    qtbot.waitUntil(lambda: len(panel.finetune_box.curve.losses) > steps + 30, timeout=PATIENCE)
    assert preview_layers(viewer) == []
    click(qtbot, panel.cancel_button)
    wait_idle(panel)


def test_a_preview_goes_with_its_check_mark(previewed: Any, qtbot: Any, wait_idle: Any) -> None:
    viewer, panel, _ = previewed()
    panel.finetune_box.preview_check.click()
    qtbot.waitUntil(lambda: not preview_layers(viewer), timeout=PATIENCE)
    panel.finetune_box.preview_check.click()
    qtbot.waitUntil(lambda: bool(preview_layers(viewer)), timeout=PATIENCE)
    click(qtbot, panel.cancel_button)
    wait_idle(panel)


@pytest.mark.parametrize("close", ["dock", "window"])
def test_a_preview_goes_with_the_panel(previewed: Any, qtbot: Any, close: str) -> None:
    viewer, panel, _ = previewed()
    worker = panel._runner._worker
    if close == "dock":
        viewer.window.remove_dock_widget(panel)
        assert preview_layers(viewer) == []
    else:
        viewer.close()
    qtbot.waitUntil(lambda: not worker.is_running, timeout=20_000)


def test_without_the_check_mark_there_is_no_preview(
    annotated_image: Any, qtbot: Any, wait_idle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_job, "INTERVAL", 0.1)
    monkeypatch.setattr(preview_job, "TIME_SHARE", 0.9)
    viewer, panel = annotated_image(LONG)
    assert not panel.session.preview
    click(qtbot, panel.fine_tune_button)
    qtbot.waitUntil(lambda: len(panel.finetune_box.curve.losses) > 40, timeout=PATIENCE)
    assert preview_layers(viewer) == []
    click(qtbot, panel.cancel_button)
    wait_idle(panel)


@pytest.mark.usefixtures("full_collections")
def test_preview_and_score_do_not_block_the_gui(annotated_image: Any, qtbot: Any, wait_idle: Any) -> None:
    """How long the GUI thread runs without a pause, in its processor time, because cores may be shared."""
    viewer, panel = annotated_image(Recipe(steps=40, crops=4, crop_size=96), images=2)
    panel.finetune_box.preview_check.click()
    qtbot.wait(500)
    beats: list[float] = []
    timer = QTimer()
    timer.setInterval(5)
    timer.timeout.connect(lambda: beats.append(time.thread_time()))
    timer.start()
    click(qtbot, panel.fine_tune_button)
    qtbot.waitUntil(lambda: bool(preview_layers(viewer)), timeout=PATIENCE)
    wait_idle(panel)
    settled(qtbot, panel)
    timer.stop()
    gaps = np.sort(np.diff(beats))
    print(f"99 % of gaps below {1e3 * np.quantile(gaps, 0.99):.0f} ms, longest {1e3 * gaps[-1]:.0f} ms")
    assert len(gaps) > 100
    assert np.quantile(gaps, 0.99) < 0.1
    assert gaps[-1] < 0.4


@pytest.mark.usefixtures("full_collections")
def test_a_removed_layer_leaves_memory_and_what_others_froze_stays_frozen(
    annotated_image: Any, open_panel: Any, own_home: object
) -> None:
    """``gc.unfreeze`` would release what others froze, and ``gc.freeze`` would keep removed layers."""
    viewer, panel = annotated_image(LEARNS)
    assert gc.get_freeze_count() == 0
    gone = weakref.ref(viewer.layers["discs 0"].events)  # in reference cycles
    viewer.layers.clear()
    gc.collect()
    assert gone() is None
    viewer.window.remove_dock_widget(panel)
    gc.freeze()
    try:
        theirs = gc.get_freeze_count()
        viewer, panel = open_panel()
        viewer.add_image(np.zeros((64, 64)), name="one more")
        viewer.layers.remove("one more")
        viewer.window.remove_dock_widget(panel)
        assert theirs * 0.99 < gc.get_freeze_count() <= theirs  # freed one by one, not thawed
    finally:
        gc.unfreeze()


def test_equal_geometry_is_not_set_again() -> None:
    """Otherwise napari would slice and draw it seven times."""
    options: dict[str, Any] = {"scale": (0.5, 0.25), "translate": (7, 8), "rotate": 30, "units": ("um", "um")}
    image = Image(np.zeros((8, 9)), **options)
    labels = Labels(np.zeros((8, 9), int), **geometry_of(image))
    touched: list[str] = []
    for name in ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels"):
        getattr(labels.events, name).connect(lambda event: touched.append(event.type))
    place_on(labels, image)
    assert touched == []
    image.affine, image.units = np.diag([2.0, 2.0, 1.0]), ("nm", "nm")
    place_on(labels, image)
    assert set(touched) == {"affine", "units"}
    np.testing.assert_array_equal(labels.affine.affine_matrix, image.affine.affine_matrix)
    assert labels.units == image.units


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_preview_lies_where_its_pixels_are(ndim: int) -> None:
    rng = np.random.default_rng(0)
    options = {"scale": (3, 0.5, 0.25)[-ndim:], "translate": (7, 8, 9)[-ndim:], "rotate": 30}
    affine = np.eye(ndim + 1)
    affine[-3:-1, -3:-1], affine[-3:-1, -1] = [[1, 0.2], [0.1, 1.5]], [4, -3]
    for extra in ({}, {"affine": affine}, {"units": ("um",) * ndim}):
        viewer = ViewerModel()
        image = viewer.add_image(rng.random((5, 40, 60)[-ndim:]), **options, **extra)
        session = Session(viewer)
        if ndim == 3:
            viewer.dims.set_current_step(0, 3)
        shown = PreviewLayer(session)
        source = session.source(image)
        shown.show(Preview(source, np.s_[10:30, 20:60], rng.random((20, 40), np.float32)))
        layer = viewer.layers[f"preview {image.name}"]
        first = [0] * ndim
        corner = [*([source.plane[0]] if ndim == 3 else []), 10, 20]
        assert layer.data.shape == (1, 20, 40)[-ndim:]
        for step in (np.zeros(ndim), np.eye(ndim)[-1] * 7, np.eye(ndim)[-2] * 5):
            there = image.data_to_world(np.add(corner, step))
            np.testing.assert_allclose(layer.data_to_world(np.add(first, step)), there, atol=1e-9)
        viewer.layers.remove(image)
        assert layer not in viewer.layers
        session.close()


def test_the_history_follows_a_model_that_is_renamed_in_the_library(
    annotated_image: Any, qtbot: Any, press: Any
) -> None:
    _, panel = annotated_image(LEARNS)
    name = press(panel)
    panel.predict_box.manage_models()
    dialog = panel.predict_box.library_dialog
    qtbot.waitUntil(lambda: dialog.rename_button.toolTip() != "" and not dialog._busy, timeout=PATIENCE)
    dialog.rename(name, "discs at noon")
    qtbot.waitUntil(lambda: panel.session.model.name == "discs at noon", timeout=PATIENCE)
    assert [run.model for run in panel.rounds.history.runs] == ["discs at noon"]
    assert panel.rounds.history.shown in (None, "discs at noon")
