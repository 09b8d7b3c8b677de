"""The search for what to annotate next as a job: every plane is looked at where nothing is painted."""

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
    """A plane that may be annotated next, and the annotation layer's array, if it has one."""

    source: Source
    labels: Any = None
    whole_image: bool = False

    def is_painted(self, box: Box | None = None) -> bool:
        """Whether something is painted in a region of it, or anywhere."""
        if self.labels is None:
            return False
        plane = np.asarray(self.labels[window(self.source.plane)])
        if box is None:
            return bool(plane.any())
        top, left, bottom, right = box
        return bool(plane[top:bottom, left:right].any())


@dataclass(frozen=True, eq=False)
class Place:
    """A region of a plane, and how much of what is predicted there depends on the view, from 0 to 1."""

    source: Source
    box: Box
    score: float


@dataclass(frozen=True, eq=False)
class Suggested:
    """All places looked at, the one to annotate next first, and the model that was asked."""

    entry: ModelEntry
    places: tuple[Place, ...]


def suggest_job(
    entry: ModelEntry, planes: Sequence[Candidate]
) -> Generator[Progress | Skipped | Suggested, None, None]:
    """Rank the regions where nothing is painted yet; planes that cannot be used are skipped and told."""
    yield Progress("comparing views", 0, 1, 0.0)
    import pandas  # that the outline's layer needs: a second that the window would wait for

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
