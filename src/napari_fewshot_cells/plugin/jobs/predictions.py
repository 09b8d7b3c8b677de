"""Predictions kept in memory, so that new object settings need no new prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..layers.planes import PlaneIndex

if TYPE_CHECKING:
    from napari.layers import Image

    from ..layers.plane_source import PlaneResult, Source

MOST_BYTES = 512 * 2**20
"""For all planes: 64 of 1024 × 1024 px, or 51 with contacts. Beyond that, the oldest are dropped."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model predicts of one plane, see `probability.CellMaps`.

    Attributes
    ----------
    source : Source
    probability : ndarray, float32, (H, W)
    diameter : float or None
        Of a typical object in pixels.
    provenance : dict
    contact : ndarray, float16, (H, W), or None
    """

    source: Source
    probability: NDArray[np.float32]
    diameter: float | None
    provenance: dict[str, Any]
    contact: NDArray[np.float16] | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self.probability.nbytes + (0 if self.contact is None else self.contact.nbytes)


@dataclass(frozen=True)
class ObjectSettings:
    """How to turn a probability into objects. A `min_size` of None is `instances.usual_min_size`."""

    threshold: float = 0.5
    min_size: int | None = None
    max_hole: int = 0

    def of(self, diameter: float | None) -> ObjectSettings:
        """These settings with `min_size` filled in for objects of that diameter."""
        return replace(self, min_size=self.smallest(diameter))

    def smallest(self, diameter: float | None) -> int:
        """The smallest size in pixels of objects of that diameter."""
        from ...prediction.instances import usual_min_size

        return usual_min_size(diameter) if self.min_size is None else self.min_size


@dataclass(frozen=True, eq=False)
class SplitForeground:
    """A foreground and its objects before small ones are dropped. Often the next foreground is the same."""

    foreground: NDArray[np.bool_]
    diameter: float | None
    contact: NDArray[np.float16] | None
    labels: NDArray[np.int32]

    def holds_for(self, prediction: Prediction, foreground: NDArray[np.bool_]) -> bool:
        """Whether these are also the objects of that foreground of a prediction."""
        return (
            self.diameter == prediction.diameter
            and self.contact is prediction.contact
            and np.array_equal(self.foreground, foreground)
        )


def make_objects(
    prediction: Prediction, settings: ObjectSettings, previous: SplitForeground | None = None
) -> tuple[PlaneResult, SplitForeground]:
    """Find the instances of a plane, as `instances.label_instances` does, and number them; do not measure.

    If `previous` holds for the foreground, its split is reused. Safe in any thread: it touches no layer.
    """
    from ...prediction.instances import drop_small, fill_holes, split_objects
    from ..layers.plane_source import PlaneResult

    diameter = prediction.diameter
    foreground = fill_holes(prediction.probability > settings.threshold, settings.max_hole)
    if previous is not None and previous.holds_for(prediction, foreground):
        split = previous
    else:
        contact = prediction.contact
        split = SplitForeground(foreground, diameter, contact, split_objects(foreground, diameter, contact))
    labels = drop_small(split.labels, settings.smallest(diameter))
    table = {"index": np.arange(1, labels.max() + 1)}
    return PlaneResult(prediction.source, labels, table, _noted(prediction, settings)), split


def measured(result: PlaneResult) -> PlaneResult:
    """The same objects with their measurements; raises `ImageError` if the image has become unusable."""
    from ...prediction.measurements import measure

    source = result.source
    return replace(result, table=measure(result.labels, source.read().pixels, source.pixel))


def _noted(prediction: Prediction, settings: ObjectSettings) -> dict[str, Any]:
    separation = "shape" if prediction.contact is None else "contact"
    return {**prediction.provenance, "separation": separation, **asdict(settings.of(prediction.diameter))}


class Predictions:
    """The predictions in memory and their objects. GUI thread only."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: dict[tuple[Image, PlaneIndex], Prediction] = {}
        self._made: dict[Prediction, PlaneResult] = {}

    def __iter__(self) -> Iterator[Prediction]:
        return iter(tuple(self._kept.values()))

    def of(self, image: Image, plane: PlaneIndex) -> Prediction | None:
        """The prediction of a plane."""
        return self._kept.get((image, plane))

    def keep(self, prediction: Prediction) -> None:
        """Keep a plane's newest prediction. If memory would overflow, drop the oldest ones."""
        key = (prediction.source.layer, prediction.source.plane)
        self._drop(key)
        self._kept[key] = prediction
        while len(self._kept) > 1 and self._bytes() > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def forget(self, image: Image) -> None:
        """Drop all predictions of an image."""
        for key in [key for key in self._kept if key[0] == image]:
            self._drop(key)

    def note(self, result: PlaneResult) -> None:
        """Remember the objects on show for a plane."""
        prediction = self.of(result.source.layer, result.source.plane)
        if prediction is not None:
            self._made[prediction] = result

    def made(self, prediction: Prediction) -> PlaneResult | None:
        """The objects on show for a prediction."""
        return self._made.get(prediction)

    def is_stale(self, prediction: Prediction, settings: ObjectSettings) -> bool:
        """Whether the objects on show were made with other settings."""
        made = self._made.get(prediction)
        return made is not None and made.provenance != _noted(prediction, settings)

    def is_unmeasured(self, prediction: Prediction) -> bool:
        """Whether the objects on show have no measurements yet."""
        made = self._made.get(prediction)
        return made is not None and set(made.table) == {"index"}

    def _bytes(self) -> int:
        # the objects of a prediction take as much as its probability
        return sum(kept.nbytes + kept.probability.nbytes for kept in self._kept.values())

    def _drop(self, key: tuple[Image, PlaneIndex]) -> None:
        prediction = self._kept.pop(key, None)
        if prediction is not None:
            self._made.pop(prediction, None)
