"""The work on runs that are over: to show one's prediction again, and to measure how good a model is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...base.progress import Progress
from .events import Job, Predicting, Scored, Trained
from .model_jobs import predict_job
from .predictions import ObjectSettings, Prediction, make_objects, measured

if TYPE_CHECKING:
    from ...models.library import ModelEntry
    from ..layers.plane_source import Source


def show_job(
    entry: ModelEntry, kept: Sequence[Prediction], missing: Sequence[Source], settings: ObjectSettings
) -> Job:
    """Make objects of a model's predictions in memory again, and predict planes that are missing there."""
    for done, prediction in enumerate(kept):
        yield Progress("showing", done, len(kept), 0.0)
        yield Predicting(prediction.source)
        yield prediction
        result, _ = make_objects(prediction, settings)
        yield measured(result)
    if missing:
        yield from predict_job(entry, missing, settings, stop_at_bad_image=False)


def score_job(trained: Trained) -> Job:
    """Measure a new model on its own shots and write that into its card, if the library still has it."""
    from ...finetune.scoring import score
    from ...models.library import note_score
    from ...models.model import read_model

    start, model = read_model(trained.start.path), read_model(trained.entry.path)
    found = yield from score(start, model, trained.support, recipe=trained.recipe)
    note_score(trained.entry.name, str(found))
    shots = zip(trained.sources, found.shots, strict=True)
    by_plane = {(s.layer, s.plane): found.number(value) for s, value in shots if value is not None}
    yield Scored(trained.entry.name, found, by_plane)
