"""Suggests what to annotate next: ranks the regions of all planes in which nothing is painted."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...base.errors import ImageError
from ...base.progress import Progress, relay
from ..layers.plane_source import Source
from ..layers.planes import window
from .events import Skipped

if TYPE_CHECKING:
    from ...models.library import ModelEntry
    from ...prediction.uncertainty import Box

SUGGESTING = "looking for what to annotate next"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A plane that may be annotated next, with the array of its annotation layer if it has one."""

    source: Source
    labels: Any = None
    whole_image: bool = False

    def is_painted(self, box: Box | None = None) -> bool:
        """Whether anything is painted in a region, or on the plane if `box` is None."""
        if self.labels is None:
            return False
        plane = np.asarray(self.labels[window(self.source.plane)])
        if box is None:
            return bool(plane.any())
        top, left, bottom, right = box
        return bool(plane[top:bottom, left:right].any())


@dataclass(frozen=True, eq=False)
class Place:
    """A region of a plane; `score` (0 to 1) is how much augmented predictions disagree there."""

    source: Source
    box: Box
    score: float


@dataclass(frozen=True, eq=False)
class Suggested:
    """All ranked places, the best to annotate first, and the model that ranked them."""

    entry: ModelEntry
    places: tuple[Place, ...]


def suggest_job(
    entry: ModelEntry, planes: Sequence[Candidate]
) -> Generator[Progress | Skipped | Suggested, None, None]:
    """Rank the regions in which nothing is painted yet. An unusable plane yields `Skipped`."""
    yield Progress("comparing views", 0, 1, 0.0)
    import pandas  # the outline's layer needs it: imported here, it does not block the GUI for a second

    from ...models.model_file import read_model
    from ...prediction.uncertainty import rank_regions

    _ = pandas
    model = read_model(entry.path)
    places: list[Place] = []
    for number, candidate in enumerate(planes, start=1):
        if candidate.whole_image and candidate.is_painted():
            continue
        try:
            plane = candidate.source.read()
        except ImageError as error:
            yield Skipped(str(error))
            continue
        stage = f"comparing views, {number} of {len(planes)}"
        regions = yield from relay(rank_regions(model, [plane]), partial(replace, stage=stage))
        places += [
            Place(candidate.source, region.box, region.score)
            for region in regions
            if not candidate.is_painted(region.box)
        ]
    yield Suggested(entry, tuple(sorted(places, key=lambda place: -place.score)))
