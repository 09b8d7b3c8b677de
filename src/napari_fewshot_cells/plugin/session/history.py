"""The fine-tuning runs of this session and their predictions, so that the next run replaces none of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from ..jobs.predictions import Prediction
from ..layers.planes import PlaneIndex

if TYPE_CHECKING:
    from napari.layers import Image

    from ...models.model import ModelCard
    from ..layers.plane_source import Source

MOST_BYTES = 256 * 2**20
"""For the predictions of all runs: 64 of 1024 × 1024 px, or 42 with contacts. The oldest are dropped, and
made again on demand."""


@dataclass(frozen=True)
class Run:
    """One fine-tuned model of this session, as plain data.

    Attributes
    ----------
    model : str
        Its name in the library.
    date : str
        When it was trained; ISO 8601 in UTC.
    k_shot : int
    shots : tuple of str
    parent : str
        The model that was fine-tuned.
    score : str
        A sentence; empty until the model is scored.
    short : str
        The same score, short enough for a table.
    """

    model: str
    date: str
    k_shot: int
    shots: tuple[str, ...] = ()
    parent: str = ""
    score: str = ""
    short: str = ""


def run_of(model: str, card: ModelCard) -> Run:
    """The run of a model, from its card."""
    return Run(model, card.date, card.k_shot, card.shots, card.parent, card.score)


class History:
    """Runs, the oldest first, and the predictions that fit in memory. GUI thread only.

    Attributes
    ----------
    runs : tuple of Run
    shown : str or None
        The model whose prediction is on show.
    offered : str or None
        A new model that agrees less with the annotation than the one in use; the user must decide.
    """

    changed = Signal()

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.runs: tuple[Run, ...] = ()
        self.shown: str | None = None
        self.offered: str | None = None
        self._most_bytes = most_bytes
        self._kept: dict[tuple[str, Image, PlaneIndex], Prediction | Source] = {}

    def run(self, model: str | None) -> Run | None:
        """The run of a model."""
        return next((run for run in self.runs if run.model == model), None)

    def add(self, *runs: Run) -> None:
        """Add new runs; known ones stay as they are."""
        known = {run.model for run in self.runs}
        self.runs += tuple(run for run in runs if run.model not in known)
        self.changed.emit()

    def note(self, model: str, /, **facts: Any) -> None:
        """Fill in facts of a run, such as its score."""
        self.runs = tuple(replace(run, **facts) if run.model == model else run for run in self.runs)
        self.changed.emit()

    def rename(self, model: str, name: str) -> None:
        """Rename a model as the library did."""
        if self.run(model) is None:
            return
        self.shown, self.offered = (name if m == model else m for m in (self.shown, self.offered))
        self._kept = {
            (name if key[0] == model else key[0], *key[1:]): _named(kept, name) if key[0] == model else kept
            for key, kept in self._kept.items()
        }
        self.note(model, model=name)

    def show(self, model: str) -> None:
        """Set the model whose prediction is on show."""
        if model != self.shown:
            self.shown = model
            self.changed.emit()

    def offer(self, model: str | None) -> None:
        """Offer a model to the user for a decision; None withdraws the offer."""
        if model != self.offered:
            self.offered = model
            self.changed.emit()

    # --- predictions

    def keep(self, prediction: Prediction) -> None:
        """Keep a prediction. If memory would overflow, drop the oldest ones, but remember their planes."""
        source = prediction.source
        key = prediction.provenance["model"], source.layer, source.plane
        self._kept.pop(key, None)
        self._kept[key] = prediction
        in_memory = [(key, kept) for key, kept in self._kept.items() if isinstance(kept, Prediction)]
        for first, oldest in in_memory[:-1]:
            if self._bytes() <= self._most_bytes:
                break
            self._kept[first] = oldest.source

    def predictions(self, model: str) -> tuple[Prediction, ...]:
        """The predictions of a model that are still in memory."""
        return tuple(kept for kept in self._of(model) if isinstance(kept, Prediction))

    def forgotten(self, model: str) -> tuple[Source, ...]:
        """The planes of a model whose predictions were dropped."""
        return tuple(kept for kept in self._of(model) if not isinstance(kept, Prediction))

    def forget(self, image: Image) -> None:
        """Drop all predictions of an image that was removed."""
        for key in [key for key in self._kept if key[1] == image]:
            del self._kept[key]

    def forget_all(self) -> None:
        """Drop all predictions, as the panel closes."""
        self._kept = {}

    def _of(self, model: str) -> list[Prediction | Source]:
        return [kept for key, kept in self._kept.items() if key[0] == model]

    def _bytes(self) -> int:
        return sum(kept.nbytes for kept in self._kept.values() if isinstance(kept, Prediction))


def _named(kept: Prediction | Source, model: str) -> Prediction | Source:
    if not isinstance(kept, Prediction):
        return kept
    return replace(kept, provenance={**kept.provenance, "model": model})
