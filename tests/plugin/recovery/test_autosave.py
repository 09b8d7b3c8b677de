"""The recovery copy in the real panel: written in the background, offered, restored."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer

from napari_fewshot_cells.base import atomic_files
from napari_fewshot_cells.plugin.panel.project_row import describe_offer
from napari_fewshot_cells.plugin.recovery import autosave
from napari_fewshot_cells.plugin.session.messages import DONE, WARNING
from napari_fewshot_cells.projects.label_files import read_labels
from napari_fewshot_cells.projects.project import read_project
from napari_fewshot_cells.projects.recovery import recoveries, recovery_dir

from ..conftest import PATIENCE


def annotate(panel: Any, image: Any, *strokes: tuple[float, ...]) -> Any:
    """A new annotation layer with a cell painted at each point."""
    layer = panel.session.annotations.create(image)
    for number, point in enumerate(strokes):
        layer.paint(point, number + 2)
    return layer


def on_disk(panel: Any, number: int = 0) -> np.ndarray:
    record = read_project(panel.autosave.folder).labels[number]
    labels, problems = read_labels(
        panel.autosave.folder / record.file, record.shape, record.dtype, record.planes
    )
    assert not problems
    return labels


@pytest.fixture
def short_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the copy soon after the last stroke, because these tests are about its content."""
    monkeypatch.setattr(autosave, "REST", 0.1)


@pytest.fixture
def wait_saved(qtbot: Any) -> Callable[[Any], None]:
    """Waits until everything in a panel is on the disk."""

    def wait(panel: Any) -> None:
        qtbot.waitUntil(
            lambda: panel.autosave.folder is not None and not panel.autosave.unsaved, timeout=PATIENCE
        )

    return wait


@pytest.fixture
def offered(qtbot: Any) -> Callable[[Any], None]:
    """Waits until a panel offers a session."""

    def wait(panel: Any) -> None:
        qtbot.waitUntil(lambda: not panel.project_row.offer.isHidden(), timeout=PATIENCE)

    return wait


def click(qtbot: Any, button: Any) -> None:
    assert button.isEnabled(), button.toolTip()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.mark.both_bindings
@pytest.mark.usefixtures("short_rest")
def test_strokes_are_saved_and_restored(
    open_panel: Any, qtbot: Any, wait_saved: Any, offered: Any, disc_image: Any
) -> None:
    """An image without a file, opened again under another name, and a stack that is opened again later."""
    viewer, panel = open_panel()
    assert panel.project_row.offer.isHidden()
    stack = np.random.default_rng(0).integers(0, 255, (4, 60, 70), dtype=np.uint8)
    flat = annotate(panel, viewer.add_image(disc_image[0], name="discs"), (40, 30), (120, 100))
    deep = annotate(panel, viewer.add_image(stack, name="stack"), (2, 30, 40))
    panel.session.annotations.set_whole_image(viewer.layers["stack"], True)
    panel.session.choose(diameter=31.0)
    wait_saved(panel)
    np.testing.assert_array_equal(on_disk(panel, 0), flat.data)
    np.testing.assert_array_equal(on_disk(panel, 1), deep.data)
    flat.paint((120, 170), 5)  # then the window closes at once; napari removes its layers first
    painted = flat.data.copy(), deep.data.copy()
    assert recoveries() == []
    viewer.layers.clear()
    panel.close_session()

    viewer, panel = open_panel()
    offered(panel)
    row = panel.project_row
    assert "2 annotated images" in row.offer_line.text()
    assert "not deleted" in row.dismiss_button.toolTip()
    viewer.add_image(disc_image[0], name="another name")
    click(qtbot, row.restore_button)
    qtbot.waitUntil(lambda: row.offer.isHidden() and not panel.session.busy, timeout=PATIENCE)
    found = panel.session.annotations.of(viewer.layers["another name"])
    np.testing.assert_array_equal(found.layer.data, painted[0])
    assert panel.session.diameter == panel.finetune_box.diameter.value() == 31
    assert "was never a file and is not open" in panel.message_bar.text
    viewer.add_image(stack[:, ::-1], name="stack")  # not the annotated one
    image = viewer.add_image(stack, name="stack again")
    qtbot.waitUntil(lambda: panel.session.annotations.of(image) is not None, timeout=PATIENCE)
    found = panel.session.annotations.of(image)
    np.testing.assert_array_equal(found.layer.data, painted[1])
    assert found.whole_image
    assert panel.session.annotations.of(viewer.layers["stack"]) is None


@pytest.mark.usefixtures("short_rest")
def test_files_are_opened_again_and_a_session_is_offered_once(
    open_panel: Any, qtbot: Any, wait_saved: Any, offered: Any, disc_image: Any, tmp_path: Path
) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "discs.tif", disc_image[0])
    _, panel = open_panel()
    panel.image_box.files.open(tmp_path / "discs.tif")
    qtbot.waitUntil(lambda: panel.session.image is not None, timeout=PATIENCE)
    painted = annotate(panel, panel.session.image, (40, 30)).data
    panel.session.image.scale = (0.5, 0.25)
    wait_saved(panel)
    panel.close_session()

    _, panel = open_panel()
    offered(panel)
    click(qtbot, panel.project_row.restore_button)
    qtbot.waitUntil(lambda: panel.project_row.offer.isHidden() and not panel.session.busy, timeout=PATIENCE)
    assert panel.message_bar.kind == DONE, panel.message_bar.text
    np.testing.assert_array_equal(panel.session.image.data, disc_image[0])
    np.testing.assert_array_equal(panel.session.image.scale, (0.5, 0.25))
    np.testing.assert_array_equal(panel.session.annotation.layer.data, painted)
    wait_saved(panel)
    panel.close_session()
    assert len(recoveries()) == 1  # only the new session, which holds the old one
    assert len(list(recovery_dir().iterdir())) == 2

    _, panel = open_panel()
    offered(panel)
    click(qtbot, panel.project_row.dismiss_button)
    qtbot.waitUntil(panel.project_row.offer.isHidden, timeout=PATIENCE)
    assert recoveries() == []
    assert len(list(recovery_dir().iterdir())) == 2


@pytest.mark.usefixtures("full_collections")
def test_long_painting_is_saved_meanwhile_and_does_not_block_the_gui(
    open_panel: Any, qtbot: Any, wait_saved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autosave, "LONGEST_UNSAVED", 1.5)  # s; twice as often as by default
    viewer, panel = open_panel()
    panel.window().show()
    image = viewer.add_image(np.random.default_rng(0).random((4096, 4096), dtype=np.float32))
    layer = annotate(panel, image, (40, 30))
    wait_saved(panel)
    qtbot.wait(500)
    beats: list[float] = []
    beat, stroke = QTimer(), QTimer()
    beat.timeout.connect(lambda: beats.append(time.perf_counter()))
    points = iter(np.random.default_rng(1).uniform(50, 4000, (10_000, 2)))
    stroke.timeout.connect(lambda: layer.paint(tuple(next(points)), 3))
    begun = time.time()
    beat.start(5)
    stroke.start(100)
    folder = panel.autosave.folder
    written = set()
    while time.time() - begun < 2.5 * autosave.LONGEST_UNSAVED:
        qtbot.wait(50)
        written.add((folder / "project.json").stat().st_mtime)
    stroke.stop()
    assert max(written) > begun  # although painting never paused
    wait_saved(panel)
    beat.stop()
    gaps = 1e3 * np.sort(np.diff(beats))
    print(f"99 % of gaps below {np.quantile(gaps, 0.99):.0f} ms, longest {gaps[-1]:.0f} ms")
    assert np.quantile(gaps, 0.99) < 100
    assert gaps[-1] < 400  # shared cores add pauses of the scheduler
    np.testing.assert_array_equal(on_disk(panel), layer.data)


@pytest.mark.usefixtures("short_rest")
def test_a_full_disk_is_reported_once_and_tried_again(
    open_panel: Any, qtbot: Any, wait_saved: Any, disc_image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fail(handle: int) -> None:
        tried.append(handle)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    viewer, panel = open_panel()
    messages: list[tuple[str, str]] = []
    panel.autosave.said.connect(lambda kind, text: messages.append((kind, text)))
    monkeypatch.setattr(autosave, "RETRY", 0.1)
    with monkeypatch.context() as full:
        full.setattr(atomic_files.os, "fsync", fail)
        layer = annotate(panel, viewer.add_image(disc_image[0]), (40, 30))
        qtbot.waitUntil(lambda: bool(messages), timeout=PATIENCE)
        qtbot.waitUntil(lambda: len(tried) >= 4, timeout=PATIENCE)
    assert [kind for kind, _ in messages if kind == WARNING] == [WARNING]
    assert "No space left" in messages[0][1]
    qtbot.waitUntil(lambda: messages[-1][1] == "Automatic saving works again.", timeout=PATIENCE)
    wait_saved(panel)
    np.testing.assert_array_equal(on_disk(panel), layer.data)


@pytest.mark.usefixtures("short_rest")
def test_a_panel_opened_again_in_the_same_window_offers_nothing(
    open_panel: Any, qtbot: Any, wait_saved: Any, disc_image: Any
) -> None:
    from napari_fewshot_cells.plugin.panel.panel import FewShotWidget

    viewer, panel = open_panel()
    annotate(panel, viewer.add_image(disc_image[0], name="discs"), (40, 30))
    wait_saved(panel)
    panel.close_session()
    again = FewShotWidget(viewer)
    try:
        qtbot.waitUntil(lambda: not again.session.loading, timeout=PATIENCE)
        assert again.autosave.folder == panel.autosave.folder
        wait_saved(again)
        assert recoveries() == []
        assert again.project_row.offer.isHidden()
    finally:
        again.close_session()


@pytest.mark.usefixtures("short_rest")
def test_the_offer_is_one_plain_sentence(open_panel: Any, wait_saved: Any, disc_image: Any) -> None:
    viewer, panel = open_panel()
    annotate(panel, viewer.add_image(disc_image[0], name="discs"), (40, 30))
    wait_saved(panel)
    panel.close_session()
    (found,) = recoveries()
    now = datetime.now().astimezone()
    for later, day in ((0, "today"), (1, "yesterday"), (30, f"{found.when:%Y-%m-%d}")):
        if now.date() != found.when.date():
            pytest.skip("it is midnight")
        sentence = describe_offer(found, now + timedelta(days=later))
        assert sentence == (
            f"The session of {day} {found.when:%H:%M} was not saved as a project: 1 annotated image."
        )
