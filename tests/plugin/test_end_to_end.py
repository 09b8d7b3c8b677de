"""From a sample or real image to correct masks, with the bundled networks and the button."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtCore import Qt
from scipy.ndimage import distance_transform_edt
from skimage.io import imread
from skimage.measure import regionprops

from napari_fewshot_cells.data.image_files import read_labels
from napari_fewshot_cells.models.library import bundled_dir
from napari_fewshot_cells.plugin.layers.sample_data import SEED
from napari_fewshot_cells.plugin.session.messages import DONE
from napari_fewshot_cells.prediction.metrics import iou
from napari_fewshot_cells.simulate import electron_microscopy, fluorescent_cells

from .conftest import PATIENCE

PLUGIN = "napari-fewshot-cells"


@pytest.fixture
def plugin_installed(npe2pm: Any) -> None:
    """Let napari find the plugin's manifest, because npe2's fixture hides installed plugins."""
    npe2pm.register(PluginManifest.from_distribution(PLUGIN))


@pytest.fixture
def press(open_panel: Any, qtbot: Any, plugin_installed: None) -> Any:
    """Open the panel with the bundled network and the default recipe: viewer, panel, press."""
    if not (bundled_dir() / "half-unet.safetensors").is_file():
        pytest.skip(f"bundled model missing: no half-unet.safetensors in {bundled_dir()}")
    viewer, panel = open_panel(recipe=None)
    assert panel.session.models[0].name == "half-unet"
    panel.session.choose(start=panel.session.models[0])

    def press_button() -> None:
        assert panel.fine_tune_button.isEnabled(), panel.fine_tune_button.toolTip()
        qtbot.mouseClick(panel.fine_tune_button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: not panel.session.busy, timeout=PATIENCE)
        assert panel.message_bar.kind == DONE, panel.message_bar.text

    return viewer, panel, press_button


@pytest.mark.parametrize(
    ("sample", "simulate", "least"),
    [
        pytest.param("fluorescent_cells", fluorescent_cells, 0.8, marks=pytest.mark.both_bindings),
        ("electron_microscopy", electron_microscopy, 0.6),
    ],
)
def test_a_simulated_sample(press: Any, sample: str, simulate: Any, least: float) -> None:
    viewer, panel, press_button = press
    viewer.open_sample(PLUGIN, sample)
    press_button()
    cells = panel.session.results.of(panel.session.image)
    _, truth = simulate(seed=SEED)
    agreement = iou(cells.data > 0, truth > 0)
    print(f"{sample}: IoU {agreement:.3f}, {cells.data.max()} of {truth.max()} cells")
    assert agreement >= least


def test_painted_by_hand(press: Any, qtbot: Any) -> None:
    """An image without annotation: new layer, brushes, strokes, button, cells."""
    viewer, panel, press_button = press
    image, truth = fluorescent_cells((512, 512), seed=11)
    viewer.add_image(image, name="mine")
    qtbot.mouseClick(panel.annotation_box.new_button, Qt.MouseButton.LeftButton)
    layer = panel.session.annotation.layer

    regions = sorted(regionprops(truth), key=lambda region: region.area)
    chosen = regions[len(regions) // 4 :: 8]
    for region in chosen:
        qtbot.mouseClick(panel.annotation_box.tool_buttons["Cell"], Qt.MouseButton.LeftButton)
        layer.brush_size = 0.75 * region.axis_minor_length
        layer.paint(region.centroid, layer.selected_label)
    qtbot.mouseClick(panel.annotation_box.tool_buttons["Background"], Qt.MouseButton.LeftButton)
    layer.brush_size = 5
    far = distance_transform_edt(truth == 0)
    for region in chosen:  # strokes around each cell if there is room, and one stroke far from all
        radius = region.axis_major_length / 2 + 7
        for angle in np.linspace(0, 2 * np.pi, 24):
            row, column = np.add(region.centroid, radius * np.array([np.sin(angle), np.cos(angle)]))
            if 0 <= row < 512 and 0 <= column < 512 and far[int(row), int(column)] > 3:
                layer.paint((row, column), layer.selected_label)
    row, column = np.unravel_index(far.argmax(), far.shape)
    for step in range(-20, 21, 2):
        if 0 <= column + step < 512 and far[row, column + step] > 3:
            layer.paint((row, column + step), layer.selected_label)

    assert np.mean(layer.data > 0) < 0.1  # a minute of painting, not a day
    press_button()
    cells = panel.session.results.of(panel.session.image)
    agreement = iou(cells.data > 0, truth > 0)
    print(f"painted by hand: IoU {agreement:.3f}, {cells.data.max()} of {truth.max()} cells")
    assert agreement >= 0.8


def test_real_nuclei(press: Any, qtbot: Any, source_data: Path) -> None:
    """Train on one image of B39 with its mask as whole-image annotation, and predict another."""
    viewer, panel, press_button = press
    folder = source_data / "B39"
    names = sorted(file.stem for file in (folder / "images").glob("*.png"))
    shot, other = names[0], names[len(names) // 2]
    masks = {name: read_labels(folder / "masks" / f"{name}.png") for name in (shot, other)}
    for name in (other, shot):
        viewer.add_image(imread(folder / "images" / f"{name}.png"), name=name)
    assert panel.session.image.name == shot
    labels = panel.session.annotations.create(panel.session.image)
    labels.data = (masks[shot] > 0).astype(np.int32)
    panel.session.annotations.set_whole_image(panel.session.image, True)
    press_button()
    panel.session.choose(image=viewer.layers[other])
    qtbot.mouseClick(panel.predict_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not panel.session.busy, timeout=PATIENCE)
    agreement = iou(panel.session.results.of(panel.session.image).data > 0, masks[other] > 0)
    print(f"B39 {shot} -> {other}: IoU {agreement:.3f}")
    assert agreement >= 0.7
