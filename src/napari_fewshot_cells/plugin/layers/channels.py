"""Which channel of an image the network sees: one channel, or the best mix of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .metadata import CHANNEL_NAMES, METADATA
from .planes import channel_axis, pixels_of

if TYPE_CHECKING:
    from napari.layers import Image

BEST_MIX = "best mix from the annotation"

_CHOSEN = "channel"
_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Channels:
    """The channels of an image, and the chosen one.

    Attributes
    ----------
    names : tuple of str
    axis : int or None
        The channel axis of the array; None for an RGB layer, whose colours come last.
    chosen : int or None
        Index of the channel; None is the mix in which the annotated cells stand out.
    """

    names: tuple[str, ...]
    axis: int | None
    chosen: int | None = None

    @property
    def description(self) -> str:
        """The chosen channel, in words."""
        return BEST_MIX if self.chosen is None else self.names[self.chosen]


def channels_of(image: Image) -> Channels | None:
    """The channels of a layer; None if it has only one."""
    names: tuple[str, ...]
    axis = channel_axis(image)
    if image.rgb:
        names = _COLOURS
    elif axis is not None and pixels_of(image).shape[axis] > 1:
        number = pixels_of(image).shape[axis]
        given = image.metadata.get(CHANNEL_NAMES, ())
        names = tuple(map(str, given)) if len(given) == number else _numbered(number)
    else:
        return None
    chosen = image.metadata.get(METADATA, {}).get(_CHOSEN)
    return Channels(names, axis, chosen if chosen is not None and chosen < len(names) else None)


def choose_channel(image: Image, chosen: int | None) -> None:
    """Choose a channel for the network, or None for the best mix; the layer's metadata keeps it."""
    noted = {**image.metadata.get(METADATA, {}), _CHOSEN: chosen}
    image.metadata = {**image.metadata, METADATA: noted}


def _numbered(number: int) -> tuple[str, ...]:
    return tuple(f"channel {n}" for n in range(number))  # from 0, as napari's own sliders count
