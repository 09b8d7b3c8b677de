"""What the panel keeps in the metadata of layers."""

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
"""Key of the file that an image was read from, if napari does not know it."""

IMAGE = "image"
"""Key of the `ImageRecord` of an annotation's image, which need not be open."""


CHANNEL_NAMES = "channel_names"
"""Key of a layer's metadata: a list of the names of its channels."""


def is_preview(layer: Layer) -> bool:
    """Whether a layer is the preview of a training; also works after its removal."""
    return PREVIEW in layer.metadata.get(METADATA, {})


def is_temporary(layer: Layer) -> bool:
    """Whether a layer holds nothing of the user's: a preview, or the empty layer of a future result."""
    return is_preview(layer) or AWAITING in layer.metadata.get(METADATA, {})


def noted(layer: Layer) -> Mapping[str, Any]:
    """The facts that the panel keeps about a layer."""
    facts: Mapping[str, Any] = layer.metadata.get(METADATA, {})
    return facts


def note(layer: Layer, **facts: Any) -> None:
    """Add facts to those kept about a layer."""
    layer.metadata = {**layer.metadata, METADATA: {**noted(layer), **facts}}
