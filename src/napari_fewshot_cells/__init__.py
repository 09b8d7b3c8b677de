"""Few-shot cell segmentation: paint a few cells on 1–10 images, get masks for all of them.

The public names are imported on first use, so ``import napari_fewshot_cells`` loads neither torch nor napari:

>>> from napari_fewshot_cells import SupportSet, fine_tune, label_instances, load_model, predict_cells
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base.version import __version__ as __version__

_HOMES = {
    "CellMaps": "prediction.probability",
    "Model": "models.model",
    "Plane": "data.plane",
    "Recipe": "finetune.recipe",
    "Shot": "data.support_set",
    "SupportSet": "data.support_set",
    "fine_tune": "finetune.fine_tune",
    "finish": "base.progress",
    "label_instances": "prediction.instances",
    "load_model": "models.library",
    "make_shot": "data.support_set",
    "make_support_set": "data.support_set",
    "predict": "prediction.probability",
    "predict_cells": "prediction.probability",
    "read_plane": "data.image_files",
    "to_plane": "data.plane",
}

if TYPE_CHECKING:
    from .base.progress import finish
    from .data.image_files import read_plane
    from .data.plane import Plane, to_plane
    from .data.support_set import Shot, SupportSet, make_shot, make_support_set
    from .finetune.fine_tune import fine_tune
    from .finetune.recipe import Recipe
    from .models.library import load_model
    from .models.model import Model
    from .prediction.instances import label_instances
    from .prediction.probability import CellMaps, predict, predict_cells

__all__ = [
    "CellMaps",
    "Model",
    "Plane",
    "Recipe",
    "Shot",
    "SupportSet",
    "fine_tune",
    "finish",
    "label_instances",
    "load_model",
    "make_shot",
    "make_support_set",
    "predict",
    "predict_cells",
    "read_plane",
    "to_plane",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
