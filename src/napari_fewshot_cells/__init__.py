"""Few-shot cell segmentation: paint a few cells on 1–10 images, get masks for all of them.

The public API, imported lazily so that ``import napari_fewshot_cells`` costs nothing:

>>> from napari_fewshot_cells import SupportSet, fine_tune, label_instances, load_model, predict
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Model": "models",
    "Plane": "images",
    "Recipe": "recipe",
    "Shot": "annotations",
    "SupportSet": "annotations",
    "fine_tune": "finetune",
    "finish": "progress",
    "label_instances": "instances",
    "load_model": "library",
    "make_shot": "annotations",
    "make_support_set": "annotations",
    "predict": "prediction",
    "to_plane": "images",
}

if TYPE_CHECKING:
    from .annotations import Shot, SupportSet, make_shot, make_support_set
    from .finetune import fine_tune
    from .images import Plane, to_plane
    from .instances import label_instances
    from .library import load_model
    from .models import Model
    from .prediction import predict
    from .progress import finish
    from .recipe import Recipe

__all__ = [
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
    "to_plane",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
