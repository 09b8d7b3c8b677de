"""The jobs behind the buttons *Fine-tune* and *Predict*, and those that show and score a model again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...base.errors import FewShotError, ImageError, ModelError
from ...base.progress import Progress, relay
from ...base.version import __version__
from .events import Comparison, Job, JobEvent, Predicting, Scored, Skipped, Trained
from .predictions import ObjectSettings, Prediction, make_objects, measured
from .preview_job import View, with_previews

if TYPE_CHECKING:
    from ...data.support_set import Shot, SupportSet
    from ...finetune.recipe import Recipe
    from ...models.library import ModelEntry
    from ...models.model import Model
    from ..layers.plane_source import Painted, Source


def fine_tune_job(
    start: ModelEntry,
    painted: Sequence[Painted],
    current: Source | None,
    *,
    diameter: float | None = None,
    recipe: Recipe | None = None,
    stop: Callable[[], bool] | None = None,
    settings: ObjectSettings = ObjectSettings(),  # noqa: B008
    previous: ModelEntry | None = None,
    view: Callable[[], View | None] = lambda: None,
) -> Job:
    """Fine-tune on all annotated planes, save the model, then predict those planes and the current one.

    Parameters
    ----------
    start : ModelEntry
        The model to fine-tune.
    painted : sequence of Painted
        All annotated images.
    current : Source or None
        A plane to predict too.
    diameter : float, optional
        Cell diameter in pixels; None takes it from the annotation.
    recipe : Recipe, optional
    stop : callable, optional
        Called after each step. True ends the training and keeps the model.
    settings : ObjectSettings
    previous : ModelEntry, optional
        The model in use, to compare the new one with.
    view : callable
        Returns the view to preview, or None.

    Raises
    ------
    FewShotError
        There is nothing to learn from, an image or model file is unusable, or the library cannot be written.
    """
    yield Progress("preparing", 0, 1, 0.0)
    from ...data.support_set import make_shot, make_support_set
    from ...finetune.fine_tune import fine_tune
    from ...models.library import save_model, unused_name
    from ...models.model_file import read_model

    shots: list[Shot] = []
    sources: list[Source] = []
    for layer in painted:
        for source, labels in layer.planes():
            shots.append(make_shot(source.read(), labels, whole_image=layer.whole_image))
            sources.append(source)
    support = make_support_set(shots)
    copies: list[Callable[[], Model]] = []
    training = fine_tune(
        read_model(start.path), support, recipe=recipe, stop=stop, diameter=diameter, watch=copies.append
    )
    planes = {source: shot.plane for source, shot in zip(sources, shots, strict=True)}
    model = yield from with_previews(training, copies, view, planes)
    name = unused_name(f"{model.card.architecture} {datetime.now():%Y-%m-%d %H.%M.%S}")
    try:
        entry = save_model(model, name)
    except OSError as error:
        raise ModelError(f"The fine-tuned model cannot be saved ({error}).") from error
    compared = None if previous is None else (yield from _compared(previous, model, support))
    yield Trained(entry, model.card, start, support, tuple(sources), recipe, compared)
    if current is not None and not any(_same_plane(current, source) for source in sources):
        sources.insert(0, current)
    yield from predict_job(entry, sources, settings, stop_at_bad_image=False)


def _compared(
    previous: ModelEntry, model: Model, support: SupportSet
) -> Generator[JobEvent, None, Comparison | None]:
    from ...finetune.scoring import agreement, annotated_windows
    from ...models.model_file import read_model

    try:
        windows = annotated_windows(support, model.card.factor)
        old = read_model(previous.path)
        before = yield from agreement(old, support, windows=windows)
        after = yield from agreement(model, support, windows=windows)
        return Comparison(previous, old.card, before, after)
    except FewShotError as error:
        yield Skipped(f"The new model could not be compared with '{previous.name}': {error}")
        return None


def predict_job(
    entry: ModelEntry, sources: Sequence[Source], settings: ObjectSettings, *, stop_at_bad_image: bool
) -> Job:
    """Predict planes one by one, then make and measure the objects of each.

    An unusable image raises its `ImageError` if `stop_at_bad_image`; otherwise it yields `Skipped`.
    """
    yield Progress("predicting", 0, len(sources), 0.0)
    from ...models.model_file import read_model
    from ...prediction.probability import cell_steps

    model = read_model(entry.path)
    provenance = _provenance(entry, model)
    for number, source in enumerate(sources, start=1):
        try:
            plane = source.read()
        except ImageError as error:
            if stop_at_bad_image:
                raise
            yield Skipped(str(error))
            continue
        stage = "predicting" if len(sources) == 1 else f"predicting {number} of {len(sources)}"
        yield Predicting(source)
        maps = yield from relay(cell_steps(model, plane), partial(replace, stage=stage))
        facts = {**provenance, **_channel_note(source)}
        contact = None if maps.contact is None else maps.contact.astype(np.float16)
        prediction = Prediction(source, maps.probability, model.card.diameter, facts, contact)
        yield prediction
        result, _ = make_objects(prediction, settings)
        yield measured(result)


def _same_plane(one: Source, other: Source) -> bool:
    return one.layer == other.layer and one.plane == other.plane


def _channel_note(source: Source) -> dict[str, str]:
    """The channel that the network saw. The weights of a mix belong to the model."""
    return {} if source.channels is None else {"channel": source.channels.description}


def _provenance(entry: ModelEntry, model: Model) -> dict[str, Any]:
    from ...models.model import weights_sha256

    card = asdict(model.card)
    kept = (
        "parent",
        "architecture",
        "shots",
        "k_shot",
        "hyper_parameters",
        "seed",
        "diameter",
        "mix",
        "decision_logit",
    )
    return {
        "model": entry.name,
        "model_sha256": weights_sha256(model),  # not of the file: a score changes it
        **{name: card[name] for name in kept},
        "predicted": datetime.now().astimezone().isoformat(timespec="seconds"),
        "software": f"napari-fewshot-cells {__version__}",
    }


def show_job(
    entry: ModelEntry, kept: Sequence[Prediction], missing: Sequence[Source], settings: ObjectSettings
) -> Job:
    """Make the objects of the predictions in memory again, then predict the missing planes."""
    for done, prediction in enumerate(kept):
        yield Progress("showing", done, len(kept), 0.0)
        yield Predicting(prediction.source)
        yield prediction
        result, _ = make_objects(prediction, settings)
        yield measured(result)
    if missing:
        yield from predict_job(entry, missing, settings, stop_at_bad_image=False)


def score_job(trained: Trained) -> Job:
    """Score a new model on its own shots, and write the score into its card if the library still has it."""
    from ...finetune.scoring import score
    from ...models.library import note_score
    from ...models.model_file import read_model

    start, model = read_model(trained.start.path), read_model(trained.entry.path)
    found = yield from score(start, model, trained.support, recipe=trained.recipe)
    note_score(trained.entry.name, str(found))
    shots = zip(trained.sources, found.shots, strict=True)
    by_plane = {(s.layer, s.plane): found.number(value) for s, value in shots if value is not None}
    yield Scored(trained.entry.name, found, by_plane)
