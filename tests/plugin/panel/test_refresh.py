"""A box refreshes if something that it shows changes, and for nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from napari_fewshot_cells.plugin.dialogs.batch_dialog import BatchDialog
from napari_fewshot_cells.plugin.layers.plane_source import Tally
from napari_fewshot_cells.plugin.panel.annotation_box import AnnotationBox
from napari_fewshot_cells.plugin.panel.finetune_box import FineTuneBox
from napari_fewshot_cells.plugin.panel.guide import Guide
from napari_fewshot_cells.plugin.panel.history_box import HistoryBox
from napari_fewshot_cells.plugin.panel.image_box import ImageBox
from napari_fewshot_cells.plugin.panel.objects_box import ObjectsBox
from napari_fewshot_cells.plugin.panel.predict_box import PredictBox
from napari_fewshot_cells.plugin.panel.project_row import ProjectRow
from napari_fewshot_cells.plugin.session.state import ALL_IMAGES

BOXES = (
    AnnotationBox,
    BatchDialog,
    FineTuneBox,
    Guide,
    HistoryBox,
    ImageBox,
    ObjectsBox,
    PredictBox,
    ProjectRow,
)


@pytest.fixture
def refreshes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Number of refreshes of each box since the panel opened."""
    counts: Counter[str] = Counter()

    def spied(box: type, refresh: Any) -> Any:
        def count(self: Any, *_: Any) -> None:
            counts[box.__name__] += 1
            refresh(self)

        return count

    for box in BOXES:
        monkeypatch.setattr(box, "refresh", spied(box, box.refresh))
    return counts


def test_a_change_concerns_the_boxes_that_show_it(
    refreshes: Counter[str], open_panel: Any, fine_tuned: Any, disc_image: Any
) -> None:
    viewer, panel = open_panel()
    viewer.add_image(disc_image[0], name="discs")
    panel.predict_box.predict_folder()
    session = panel.session

    def refreshed(**choices: Any) -> dict[str, int]:
        refreshes.clear()
        session.choose(**choices)
        return dict(refreshes)

    assert refreshed(diameter=30.0) == {"FineTuneBox": 1}
    assert refreshed(diameter=30.0) == {}
    assert refreshed(scope=ALL_IMAGES) == {"PredictBox": 1}
    assert refreshed(recipe=None) == {}
    assert refreshed(diameter=31.0, preview=False, continued=True) == {"FineTuneBox": 1}
    assert refreshed(tally=Tally(1, 2)) == {"AnnotationBox": 1, "Guide": 1, "ImageBox": 1}
    assert panel.annotation_box.status.text() == "1 image: 2 cells, no background yet"
    running = refreshed(running="predicting")
    assert running == dict.fromkeys(
        ("BatchDialog", "FineTuneBox", "Guide", "HistoryBox", "ImageBox", "PredictBox", "ProjectRow"), 1
    )
    assert panel.cancel_button.isEnabled()
    session.choose(running=None)


def test_a_new_image_concerns_each_box_once(
    refreshes: Counter[str], open_panel: Any, disc_image: Any
) -> None:
    viewer, panel = open_panel()
    viewer.add_image(disc_image[0], name="first")
    second = viewer.add_image(disc_image[0], name="second")
    panel.session.choose(image=viewer.layers["first"])
    refreshes.clear()
    panel.session.choose(image=second)
    expected = ("AnnotationBox", "FineTuneBox", "Guide", "HistoryBox", "ImageBox", "ObjectsBox", "PredictBox")
    assert refreshes == dict.fromkeys(expected, 1)
