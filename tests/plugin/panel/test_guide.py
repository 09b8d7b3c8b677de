"""The guide at the top of the panel shows the next step to a person who has read nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_fewshot_cells.finetune.recipe import Recipe

from ..conftest import PATIENCE


@pytest.mark.both_bindings
def test_it_leads_from_an_empty_viewer_to_saved_cells(
    open_panel: Any, qtbot: Any, quick_start: Any, disc_image: Any, annotated: Any, wait_idle: Any
) -> None:
    viewer, panel = open_panel(recipe=Recipe(steps=4, crops=2, crop_size=64))

    def says(text: str) -> None:
        qtbot.waitUntil(lambda: text in panel.guide.text(), timeout=PATIENCE)

    def paint(labels: np.ndarray) -> None:
        layer = panel.session.annotation.layer
        layer.data[...] = labels
        layer.refresh()

    says("open an image")
    viewer.add_image(disc_image[0], name="discs")
    says("press New annotation layer")
    panel.annotation_box.new_button.click()
    says("Cell brush (C)")
    paint(np.where(annotated > 1, annotated, 0))
    says("Background brush (G)")
    paint(np.where(annotated == 1, 1, 0))
    says("Cell brush (C)")
    paint(annotated)
    says(f"press {panel.fine_tune_button.text()}")
    panel.fine_tune_button.click()
    says("Training on")
    wait_idle(panel)
    says("fine-tune again")
    says("select 'cells discs'")
    viewer.add_image(disc_image[0][::-1].copy(), name="another")
    says("press Predict")
    panel.predict_button.click()
    says("Predicting")
    wait_idle(panel)
    says("select 'cells another'")
    panel.rounds.history.offer(panel.session.model.name)
    says("under History")


def test_what_is_in_the_way_is_said_first(open_panel: Any) -> None:
    viewer, panel = open_panel()
    viewer.add_image(np.random.default_rng(0).random((4, 40, 40)))
    viewer.dims.ndisplay = 3
    assert "2-D" in panel.guide.text()
