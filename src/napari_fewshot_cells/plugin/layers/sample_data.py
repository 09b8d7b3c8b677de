"""*File › Open Sample*: simulated images with a partial annotation, ready to fine-tune.

They are not downloaded. The ground truth is not a layer, because that would invite training on it;
`napari_fewshot_cells.simulate` with seed 0 regenerates it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...simulate import electron_microscopy, fluorescent_cells, partial_annotation
from .metadata import ANNOTATION_OF

LayerData = tuple[NDArray[Any], dict[str, Any], str]

SEED = 0


def fluorescent_cells_sample() -> list[LayerData]:
    """Simulated fluorescent nuclei, uint16 (512, 512); eight nuclei and some background are painted."""
    image, truth = fluorescent_cells(seed=SEED)
    return _layers("simulated fluorescent cells", image, partial_annotation(truth, seed=SEED, n_cells=8))


def electron_microscopy_sample() -> list[LayerData]:
    """A simulated electron micrograph, uint8 (512, 512); five mitochondria and background are painted."""
    image, truth = electron_microscopy(seed=SEED)
    # Fewer cells and more strokes than above, because this background holds more kinds of structure.
    annotation = partial_annotation(truth, seed=SEED, n_cells=5, n_strokes=9)
    return _layers("simulated electron microscopy", image, annotation)


def _layers(name: str, image: NDArray[Any], annotation: NDArray[np.int32]) -> list[LayerData]:
    low, high = np.percentile(image, (0.5, 99.7))
    shown = {"name": name, "colormap": "gray", "contrast_limits": (float(low), float(high))}
    painted = {
        "name": f"annotation {name}",
        "opacity": 0.6,
        "metadata": {"napari_fewshot_cells": {ANNOTATION_OF: name}},
    }
    return [(image, shown, "image"), (annotation, painted, "labels")]
