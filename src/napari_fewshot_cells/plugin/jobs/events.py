"""What a job is, and the events that it yields.

A job is a generator that runs in a worker thread. It never touches a layer: it holds a layer only to say
where a result belongs, and reads the layer's array by reference. A job imports PyTorch when it runs, so
importing its file costs nothing.
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
    """Fine-tuning is done, and the new model is in the library.

    Attributes
    ----------
    entry, card
        The new model.
    start : ModelEntry
        The model that was fine-tuned.
    support : SupportSet
    sources : tuple of Source
        The planes of the shots, in their order.
    recipe : Recipe or None
        None is the default recipe.
    comparison : Comparison or None
        How the new model compares with the model in use until now.
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
    """The model in use until now, and the agreement of both models with the current annotation.

    Attributes
    ----------
    entry, card
        The model in use until now.
    old, new : Agreement
        The agreement of that model, and of the new one.
    """

    entry: ModelEntry
    card: ModelCard
    old: Agreement
    new: Agreement

    @property
    def is_worse(self) -> bool:
        """Whether the new model agrees clearly less with the annotation than the old one."""
        from ...finetune.scoring import is_worse

        return is_worse(self.new, self.old)


@dataclass(frozen=True, eq=False)
class Predicting:
    """A plane is about to be predicted.

    PyTorch releases the GIL while it predicts, so the GUI thread can prepare the layer now.
    """

    source: Source


@dataclass(frozen=True)
class Skipped:
    """A plane was skipped; `message` says why."""

    message: str


@dataclass(frozen=True)
class Scored:
    """A model has been scored, and its card holds the score.

    Attributes
    ----------
    model : str
    score : Score
    by_plane : mapping
        The score on each shot, by image and plane; see `Score.number`.
    """

    model: str
    score: Score
    by_plane: Scores


JobEvent = Progress | Trained | Predicting | Prediction | PlaneResult | Skipped | Preview | Scored
Job = Generator[JobEvent, None, None]
