"""The long work of the panel as plain generators: they run in a worker thread and touch no layer.

Layers appear here only as names for results to be handed back to; their arrays are taken along as
references. PyTorch is imported inside the functions, so that importing this file costs nothing.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .. import __version__
from ..errors import ImageError, ModelError
from ..progress import Progress
from .predictions import ObjectSettings, Prediction, make_objects, measured

if TYPE_CHECKING:
    import numpy as np

    from ..annotations import Shot
    from ..finetune import Recipe
    from ..library import ModelEntry
    from ..models import Model
    from .sources import Painted, Source


@dataclass(frozen=True, eq=False)
class Trained:
    """Fine-tuning is done and its model is in the library."""

    entry: ModelEntry


@dataclass(frozen=True, eq=False)
class Predicting:
    """A plane is about to be predicted; its layer can be got ready meanwhile.

    In prediction PyTorch works with the interpreter let go, so that the window has it for itself.
    """

    source: Source


@dataclass(frozen=True, eq=False)
class PlaneResult:
    """Instances of one plane, their measurements, and where they come from."""

    source: Source
    labels: NDArray[np.int32]
    table: dict[str, NDArray[Any]]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Skipped:
    """A plane that could not be used, and why."""

    message: str


JobEvent = Progress | Trained | Predicting | Prediction | PlaneResult | Skipped
Job = Generator[JobEvent, None, None]


def load_library() -> tuple[ModelEntry, ...]:
    """Import everything that the jobs need, PyTorch above all, and list the models."""
    import skimage.measure
    import torch

    from .. import annotations, finetune, instances, measurements, prediction
    from ..library import list_models

    _ = skimage.measure, annotations, finetune, instances, measurements, prediction
    # The first optimiser imports PyTorch's compiler, half as long again as PyTorch itself: not at the button.
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    # So many modules make so many objects that Python's next full garbage collection is due, which holds the
    # interpreter for some 0.3 s. Now, while the panel opens, rather than when the result is shown.
    gc.collect()
    return tuple(list_models())


def fine_tune_job(
    start: ModelEntry,
    painted: Sequence[Painted],
    current: Source | None,
    *,
    diameter: float | None = None,
    recipe: Recipe | None = None,
    stop: Callable[[], bool] | None = None,
    settings: ObjectSettings = ObjectSettings(),  # noqa: B008
) -> Job:
    """Fine-tune on all annotated planes, save the model, then predict those planes and the current one.

    `stop` is asked after each step: True ends the training and keeps what it has learnt.

    Raises
    ------
    FewShotError
        Nothing to learn from, a bad image, a damaged model file, or a library that cannot be written.
    """
    yield Progress("preparing", 0, 1, 0.0)
    from ..annotations import make_shot, make_support_set
    from ..finetune import fine_tune
    from ..library import save_model
    from ..models import read_model

    shots: list[Shot] = []
    sources: list[Source] = []
    for layer in painted:
        for source, labels in layer.planes():
            shots.append(make_shot(source.read(), labels, whole_image=layer.whole_image))
            sources.append(source)
    support = make_support_set(shots)
    model = yield from fine_tune(read_model(start.path), support, recipe=recipe, stop=stop, diameter=diameter)
    name = f"{model.card.architecture} {datetime.now():%Y-%m-%d %H.%M.%S}"
    try:
        entry = save_model(model, name)
    except OSError as error:
        raise ModelError(f"The fine-tuned model cannot be saved ({error}).") from error
    yield Trained(entry)
    if current is not None and not any(_same(current, source) for source in sources):
        sources.insert(0, current)
    yield from predict_job(entry, sources, settings, stop_at_bad_image=False)


def predict_job(
    entry: ModelEntry, sources: Sequence[Source], settings: ObjectSettings, *, stop_at_bad_image: bool
) -> Job:
    """Predict planes one after the other, and make and measure the objects on them.

    A bad image ends the run with its `ImageError`, or is skipped and told, as `stop_at_bad_image` says.
    """
    yield Progress("predicting", 0, len(sources), 0.0)
    from ..models import read_model
    from ..prediction import predict_steps

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
        steps = predict_steps(model, plane)
        probability = yield from _renamed(steps, stage)
        prediction = Prediction(source, probability, model.card.diameter, {**provenance, **_seen(source)})
        yield prediction
        result, _ = make_objects(prediction, settings)
        yield measured(result)


def _renamed(
    steps: Generator[Progress, None, NDArray[np.float32]], stage: str
) -> Generator[Progress, None, NDArray[np.float32]]:
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            probability: NDArray[np.float32] = end.value
            return probability
        yield replace(step, stage=stage)


def _same(one: Source, other: Source) -> bool:
    return one.layer == other.layer and one.plane == other.plane


def _seen(source: Source) -> dict[str, str]:
    """What of the channels was shown to the network; the weights of a mix are the model's."""
    return {} if source.channels is None else {"channel": source.channels.told}


def _provenance(entry: ModelEntry, model: Model) -> dict[str, Any]:
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
        "model_sha256": hashlib.sha256(entry.path.read_bytes()).hexdigest(),
        **{name: card[name] for name in kept},
        "predicted": datetime.now().astimezone().isoformat(timespec="seconds"),
        "software": f"napari-fewshot-cells {__version__}",
    }
