"""*Save project* and *Open project* in the real panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_fewshot_cells.models.library import delete_model
from napari_fewshot_cells.plugin.jobs.predictions import ObjectSettings
from napari_fewshot_cells.plugin.session.history import Run
from napari_fewshot_cells.plugin.session.messages import DONE, ERROR, WARNING
from napari_fewshot_cells.plugin.session.state import ALL_IMAGES
from napari_fewshot_cells.projects.project import MANIFEST
from napari_fewshot_cells.projects.recovery import recoveries

from ..conftest import PATIENCE
from .test_autosave import annotate


def save(panel: Any, qtbot: Any, folder: Path) -> None:
    panel.project_row.save(folder)
    qtbot.waitUntil(lambda: panel.project_row.saving_to is None, timeout=PATIENCE)


def open_project(panel: Any, qtbot: Any, folder: Path) -> None:
    panel.project_opener.open(folder)
    qtbot.waitUntil(lambda: not panel.session.busy, timeout=PATIENCE)


@pytest.mark.both_bindings
def test_another_machine_opens_it(
    open_panel: Any, qtbot: Any, disc_image: Any, fine_tuned: Any, tmp_path: Path
) -> None:
    file = tmp_path / "data" / "colours.tif"
    file.parent.mkdir()
    colours = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    tifffile.imwrite(file, colours, photometric="rgb")
    viewer, panel = open_panel()
    panel.image_box.files.open(file)
    qtbot.waitUntil(lambda: panel.session.image is not None, timeout=PATIENCE)
    first = annotate(panel, panel.session.image, (20, 20)).data.copy()
    viewer.add_image(disc_image[0], name="discs", scale=(2, 3), colormap="green", contrast_limits=(0, 0.5))
    second = annotate(panel, viewer.layers["discs"], (40, 30), (120, 100)).data.copy()
    viewer.add_image(disc_image[0][:100], name="not annotated")
    panel.session.annotations.set_whole_image(viewer.layers["discs"], True)
    panel.session.choose(diameter=27.0, scope=ALL_IMAGES, preview=False, continued=True)
    panel.refiner.choose(ObjectSettings(0.31, 12, 40))
    panel.rounds.history.add(Run("ready", "2026-01-02T03:04:05+00:00", 2, ("a", "b"), score="0.9", short="9"))
    folder = tmp_path / "project"
    save(panel, qtbot, folder)
    assert panel.message_bar.kind == DONE, panel.message_bar.text
    assert panel.project_row.save_button.text() == "Save project"
    qtbot.waitUntil(lambda: not panel.autosave.unsaved, timeout=PATIENCE)
    panel.close_session()
    assert recoveries() == []  # the project was saved, so no recovery is offered

    delete_model("ready")
    file.unlink()
    folder = folder.rename(tmp_path / "elsewhere")
    viewer, panel = open_panel()
    open_project(panel, qtbot, folder)
    assert panel.message_bar.kind == DONE, panel.message_bar.text
    assert sorted(image.name for image in panel.session.annotations.images) == [
        "colours",
        "discs",
        "not annotated",
    ]
    one, two = (panel.session.annotations.of(viewer.layers[name]) for name in ("colours", "discs"))
    np.testing.assert_array_equal(one.layer.data, first)
    np.testing.assert_array_equal(two.layer.data, second)
    assert (one.whole_image, two.whole_image) == (False, True)
    assert viewer.layers["colours"].rgb
    np.testing.assert_array_equal(viewer.layers["colours"].data, colours)
    np.testing.assert_array_equal(viewer.layers["discs"].scale, (2, 3))
    assert viewer.layers["discs"].colormap.name == "green"
    session = panel.session
    assert (session.diameter, session.scope, session.preview, session.continued) == (
        27,
        ALL_IMAGES,
        False,
        True,
    )
    assert session.model.name == "ready"
    assert panel.refiner.settings == ObjectSettings(0.31, 12, 40)
    assert panel.rounds.history.run("ready").score == "0.9"
    assert panel.project_row.folder == folder


def test_a_partly_readable_project_opens_and_replaces_nothing_painted(
    open_panel: Any, qtbot: Any, disc_image: Any, tmp_path: Path
) -> None:
    viewer, panel = open_panel()
    for name, image in (("a", disc_image[0]), ("b", disc_image[0][::-1]), ("c", disc_image[0][:, ::-1])):
        annotate(panel, viewer.add_image(image.copy(), name=name), (40, 30))
    folder = tmp_path / "project"
    save(panel, qtbot, folder)
    kept = viewer.layers["annotation a"].data.copy()
    viewer.layers["annotation a"].paint((100, 100), 7)
    mine = viewer.layers["annotation a"].data.copy()
    for name in ("b", "annotation b", "c", "annotation c"):
        viewer.layers.remove(name)
    next(file for file in (folder / "images").iterdir() if file.name.startswith("b-")).unlink()
    damaged = next(file for file in (folder / "annotations").iterdir() if file.name.startswith("c-"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    open_project(panel, qtbot, folder)
    assert panel.message_bar.kind == WARNING
    message = panel.message_bar.text
    assert "'a' has another annotation now" in message
    assert "'b' was never a file and is not open" in message
    assert f"annotations/{damaged.name}' is damaged" in message
    np.testing.assert_array_equal(viewer.layers["annotation a"].data, mine)
    np.testing.assert_array_equal(viewer.layers["annotation a (restored)"].data, kept)
    assert viewer.layers["annotation b"].data.any()
    assert panel.session.annotations.of(viewer.layers["c"]) is None


@pytest.mark.parametrize(
    ("content", "expected"), [(None, "is not a project"), ('{"format": 9}', "newer version")]
)
def test_a_folder_that_is_no_project_is_reported(
    open_panel: Any, qtbot: Any, disc_image: Any, tmp_path: Path, content: str | None, expected: str
) -> None:
    viewer, panel = open_panel()
    (tmp_path / "other.txt").write_text("mine")
    if content is not None:
        (tmp_path / MANIFEST).write_text(content)
    open_project(panel, qtbot, tmp_path)
    assert panel.message_bar.kind == ERROR
    assert expected in panel.message_bar.text
    viewer.add_image(disc_image[0])
    save(panel, qtbot, tmp_path)
    assert panel.message_bar.kind == ERROR
    assert "choose an empty or a new folder" in panel.message_bar.text
    assert panel.project_row.folder is None
