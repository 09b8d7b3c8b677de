"""What a job of the panel is, and the events by which it tells what it has done.

Jobs are plain generators: they run in a worker thread and touch no layer. Layers appear in them only as names
for results to be handed back to; their arrays are taken along as references. They import PyTorch inside
themselves, so that importing their files costs nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...base.progress import Progress
from ..layers.plane_source import PlaneResult
from .predictions import Prediction
from .preview_job import Preview

if TYPE_CHECKING:
    from ...data.support_set import SupportSet
    from ...finetune.recipe import Recipe
    from ...finetune.scoring import Agreement, Score
    from ...models.library import ModelEntry
    from ...models.model import ModelCard
    from ..layers.plane_source import Source
    from ..layers.planes import Scores


@dataclass(frozen=True, eq=False)
class Trained:
    """Fine-tuning is done and its model is in the library.

    Attributes
    ----------
    entry, card
        Of the new model.
    start : ModelEntry
        What it began with.
    support : SupportSet
    sources : tuple of Source
        The planes of its shots.
    recipe : Recipe or None
    comparison : Comparison or None
        The model that was in use until now.
    """

    entry: ModelEntry
    card: ModelCard
    start: ModelEntry
    support: SupportSet
    sources: tuple[Source, ...]
    recipe: Recipe | None = None
    comparison: Comparison | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """The model that was in use, and how far it and the new one agree with what is annotated now."""

    entry: ModelEntry
    card: ModelCard
    old: Agreement
    new: Agreement

    @property
    def is_worse(self) -> bool:
        """Whether the new model agrees clearly less than the old one."""
        from ...finetune.scoring import is_worse

        return is_worse(self.new, self.old)


@dataclass(frozen=True, eq=False)
class Predicting:
    """A plane is about to be predicted; its layer can be got ready meanwhile.

    In prediction PyTorch works with the interpreter let go, so that the window has it for itself.
    """

    source: Source


@dataclass(frozen=True)
class Skipped:
    """A plane that could not be used, and why."""

    message: str


@dataclass(frozen=True)
class Scored:
    """A model has been measured, and its card says so.

    Attributes
    ----------
    model : str
    score : Score
    by_plane : mapping
        From image and plane of a shot to how well the model does there; see `Score.number`.
    """

    model: str
    score: Score
    by_plane: Scores


JobEvent = Progress | Trained | Predicting | Prediction | PlaneResult | Skipped | Preview | Scored
Job = Generator[JobEvent, None, None]
