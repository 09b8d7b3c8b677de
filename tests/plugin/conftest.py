"""A viewer with the panel, small images, and a library with a model that learns within a second."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models.library import list_models, save_model
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.networks import build_network

PATIENCE = 120_000  # ms; long, because other work may share the cores


@pytest.fixture(autouse=True)
def quick_collections(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave imported modules out of garbage collection for the whole session.

    napari collects whenever a layer is removed. With PyTorch in memory a full collection takes 0.4 s.
    Tests of how long the GUI stops ask for `full_collections`, as in napari.
    """
    if "full_collections" in request.fixturenames:
        gc.unfreeze()
    yield
    if gc.get_freeze_count() == 0:
        gc.collect()
        gc.freeze()


@pytest.fixture
def full_collections() -> None:
    """Let collections take as long as in napari: nothing is frozen."""


@pytest.fixture
def disc_image() -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Six bright discs of 24 px on noise, and their labels 2 to 7; 160 × 200 px."""
    rows, columns = np.mgrid[:160, :200]
    labels = np.zeros((160, 200), np.int32)
    for number, (row, column) in enumerate(
        ((40, 30), (40, 100), (40, 170), (120, 30), (120, 100), (120, 170))
    ):
        labels[np.hypot(rows - row, columns - column) <= 12] = number + 2
    noise = np.random.default_rng(0).normal(0, 0.1, labels.shape)
    return ((labels > 0) + noise).astype(np.float32), labels


@pytest.fixture
def annotated(disc_image: tuple[Any, NDArray[np.int32]]) -> NDArray[np.int32]:
    """A partial annotation of the disc image: two discs and two strokes of background."""
    _, labels = disc_image
    painted = np.where(np.isin(labels, (2, 6)), labels, 0)
    painted[75:82, 20:180] = 1
    painted[20:140, 62:68] = 1
    return painted


@pytest.fixture
def quick_start(own_home: object) -> Model:
    """An untrained model in the test's own library; it learns the discs roughly in a few steps."""
    model = Model(ModelCard("quick start", "fcrn"), build_network("fcrn", seed=0))
    save_model(model)
    return model


@pytest.fixture
def fine_tuned(own_home: object) -> Model:
    """A model in the library that can predict, though not well."""
    model = Model(ModelCard("ready", "fcrn", diameter=28.0, k_shot=1), build_network("fcrn", seed=0))
    save_model(model)
    return model


@pytest.fixture
def open_panel(make_napari_viewer_proxy: Any, qtbot: Any, own_home: object) -> Iterator[Callable[..., Any]]:
    """Opens a viewer and the docked panel: `viewer, panel = open_panel()`; few, small steps by default."""
    from napari_fewshot_cells.plugin.panel.panel import FewShotWidget

    panels = []

    def open_one(*, recipe: Recipe | None = Recipe(steps=3, crops=2, crop_size=64)) -> Any:  # noqa: B008
        viewer = make_napari_viewer_proxy()
        panel = FewShotWidget(viewer)
        viewer.window.add_dock_widget(panel, name="Few-shot segmentation")
        qtbot.waitUntil(lambda: not panel.session.loading, timeout=PATIENCE)
        own = {entry.name: entry for entry in list_models()}
        panel.session.choose(recipe=recipe, start=own.get("quick start"), model=own.get("ready"))
        panels.append(panel)
        return viewer, panel

    yield open_one
    for panel in panels:
        panel.close_session()


@pytest.fixture
def wait_idle(qtbot: Any) -> Callable[[Any], None]:
    """Wait until a panel's job has ended."""

    def wait(panel: Any) -> None:
        qtbot.waitUntil(lambda: not panel.session.busy, timeout=PATIENCE)

    return wait
