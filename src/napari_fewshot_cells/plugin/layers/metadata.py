"""What the panel notes in the metadata of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Layer

METADATA = "napari_fewshot_cells"
WHOLE_IMAGE = "whole_image"
PREVIEW = "preview"
AWAITING = "awaiting a result"
ANNOTATION_OF = "annotation_of"
FILE = "file"
"""Key of an image's noted facts: where it was read from, if napari does not know it."""

IMAGE = "image"
"""Key of an annotation's noted facts: the `ImageRecord` of its image, even if that is not open."""


CHANNEL_NAMES = "channel_names"
"""Key of a layer's metadata: a list of names, as many as it has channels."""


def is_preview(layer: Layer) -> bool:
    """Whether a layer, perhaps just removed, is or was the preview of a training."""
    return PREVIEW in layer.metadata.get(METADATA, {})


def is_temporary(layer: Layer) -> bool:
    """Whether a layer holds nothing of the user's: a preview, or the place of a result that is to come."""
    return is_preview(layer) or AWAITING in layer.metadata.get(METADATA, {})


def noted(layer: Layer) -> Mapping[str, Any]:
    """What the panel has noted of a layer."""
    facts: Mapping[str, Any] = layer.metadata.get(METADATA, {})
    return facts


def note(layer: Layer, **facts: Any) -> None:
    """Note facts of a layer, beside those that are noted."""
    layer.metadata = {**layer.metadata, METADATA: {**noted(layer), **facts}}
