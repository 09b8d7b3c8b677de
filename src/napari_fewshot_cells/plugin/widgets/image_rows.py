"""The rows of the image table: one for each image, and several for a stack if its planes matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..layers.metadata import METADATA
from ..layers.planes import PlaneIndex, Ranks, current_plane, grid_of, plane_fits, plane_name

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from ..layers.plane_source import Count
    from ..session.session import Session

MOST_SUGGESTED = 5  # planes that get a row because they are suggested for annotation


@dataclass(frozen=True, eq=False)
class Row:
    """A plane of an image layer, or a file that has not been opened.

    Attributes
    ----------
    name : str
    image, plane : Image and PlaneIndex, or None for a file
    path : Path or None
    count : Count or None
        What was painted on it at the last count.
    whole_image : bool
        Whether unpainted pixels are background.
    found : int or None
        Number of objects in the last prediction.
    score : str or None
        Score of the last measured model: an IoU if the image was left out of training, otherwise the
        agreement in per cent.
    rank : int or None
        Place in the order of what to annotate next.
    """

    name: str
    image: Image | None = None
    plane: PlaneIndex | None = None
    path: Path | None = None
    count: Count | None = None
    whole_image: bool = False
    found: int | None = None
    score: str | None = None
    rank: int | None = None

    @property
    def annotated(self) -> str:
        """How far it is annotated, in few characters for a narrow column."""
        if self.path is not None:
            return "not open"
        if self.count is None:
            return "no"
        cells = f"{self.count.cells} cell{'s' * (self.count.cells != 1)}"
        return cells if self.is_annotated else f"partly, {self.count.cells}"

    @property
    def is_annotated(self) -> bool:
        """Whether fine-tuning can use it."""
        return self.count is not None and self.count.cells > 0 and self.count.background

    @property
    def description(self) -> str:
        """Everything about the row in words, for its tooltip."""
        if self.path is not None:
            return f"{self.path}\nClick to open it."
        lines = [self.name]
        if self.count is None:
            lines.append("Nothing is annotated on it.")
        elif self.is_annotated:
            whole = "the whole image" if self.whole_image else "a part of it, with background"
            lines.append(f"Annotated: {self.count.cells} cells; {whole}.")
        else:
            missing = "paint at least one cell" if self.count.cells == 0 else "paint some background"
            lines.append(f"Partly annotated: {missing}.")
        if self.found is not None:
            lines.append(f"The last prediction found {self.found} cells.")
        if self.score is not None:
            lines.append(f"Score: {self.score_in_words}.")
        if self.rank is not None:
            lines.append(f"Number {self.rank} in the order to annotate next.")
        return "\n".join([*lines, "Click to go there."])

    @property
    def score_in_words(self) -> str:
        """The score and how it was measured."""
        if self.score is not None and self.score.endswith("%"):
            return f"the last model agrees with {self.score} of what is painted on it"
        return f"an IoU of {self.score}, after a short training without it"


def image_rows(session: Session, files: Sequence[Path], ranks: Ranks) -> list[Row]:
    """One row for each shown, annotated or suggested plane of each image, then one for each listed file."""
    counts = {(count.layer, count.plane): count for count in session.tally.counts}
    rows = []
    for image in session.annotations.images:
        shown, annotation = current_plane(image, session.viewer.dims), session.annotations.of(image)
        grid, result = grid_of(image), session.results.of(image)
        suggested = [
            plane for (layer, plane), rank in ranks.items() if layer == image and rank <= MOST_SUGGESTED
        ]
        painted = [plane for layer, plane in counts if layer == image] if annotation else []
        planes = {shown, *(plane for plane in (*painted, *suggested) if plane_fits(plane, shown, grid))}
        rows += [
            Row(
                plane_name(image.name, plane, grid),
                image,
                plane,
                count=counts.get((image, plane)) if annotation else None,
                whole_image=annotation is not None and annotation.whole_image,
                found=_found(result, plane),
                score=session.scores.get((image, plane)),
                rank=ranks.get((image, plane)),
            )
            for plane in sorted(planes, key=_numbers)
        ]
    return rows + [Row(path.name, path=path) for path in files]


def _numbers(plane: PlaneIndex) -> tuple[int, ...]:
    return tuple(number for number in plane if number is not None)


def _found(result: Labels | None, plane: PlaneIndex) -> int | None:
    """Number of objects in the last prediction of a plane; None if there is none."""
    if result is None:
        return None
    noted, table = result.metadata.get(METADATA, {}), result.features
    fixed = {f"plane-{axis}": number for axis, number in enumerate(plane) if number is not None}
    if not fixed:
        return len(table) if "model" in noted else None
    if tuple(fixed.values()) not in noted.get("planes", {}):
        return None
    if not set(fixed) <= set(table):
        return 0
    return int(np.logical_and.reduce([table[name] == number for name, number in fixed.items()]).sum())
