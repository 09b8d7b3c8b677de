"""What the model of the moment makes of the view, between the steps of a training and within its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...base.errors import ImageError
from ...base.progress import Progress
from ..layers.plane_source import Source

if TYPE_CHECKING:
    from ...data.plane import Plane
    from ...models.model import Model

TIME_SHARE = 0.10
"""Of the time since the training began, the most that goes to previews; of the processor's time too, so that
the share holds where other work takes turns with it."""

INTERVAL = 1.5  # s between two previews at least
MOST_SIDE = 384  # px at the network's scale, the most of a view that is predicted
LARGEST_PLANE = 4096**2  # px of a plane that is normalised as a whole for a view of it

Part = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class View:
    """The visible part of a plane, in its pixels."""

    source: Source
    part: Part


@dataclass(frozen=True, eq=False)
class Preview:
    """Foreground probability of a part of a plane; float32."""

    source: Source
    part: Part
    probability: NDArray[np.float32]


def with_previews(
    training: Generator[Progress, None, Model],
    copies: Sequence[Callable[[], Model]],
    view: Callable[[], View | None],
    shots: Mapping[Source, Plane],
) -> Generator[Progress | Preview, None, Model]:
    """A training with previews between its steps; the result is the same to the last bit.

    Parameters
    ----------
    training : generator
        As of `finetune.fine_tune`.
    copies : sequence of callable
        The last one, there after the first step, copies the model.
    view : callable
        What is to be predicted at the moment; None is nothing.
    shots : mapping
        Planes that have been read already.
    """
    started = last = _clocks()
    spent, cost = np.zeros(2), None
    read: dict[Source, NDArray[np.float32] | None] = {}
    try:
        while True:
            begun = _clocks()
            try:
                step = next(training)
            except StopIteration as end:
                model: Model = end.value
                return model
            now = _clocks()
            yield step
            expected = 2 * (now - begun) if cost is None else cost  # before the first: about two steps
            affordable = (spent + expected <= TIME_SHARE * (now - started)).all() and now[0] - last[
                0
            ] >= INTERVAL
            if step.stage != "fine-tuning" or not affordable or (step.remaining or 0) < expected[0]:
                continue
            wanted = view()
            if wanted is None:
                continue
            copied = copies[-1]()
            source = _same_plane(wanted.source, read) or wanted.source
            reading = _clocks()
            if source not in read:
                read = {source: _normalised(source, copied, shots)}  # one plane: they may be large
            reading = _clocks() - reading
            image = read[source]
            if image is not None:
                yield _predicted(copied, image, View(source, wanted.part))
            last = _clocks()
            cost, spent = last - now - reading, spent + last - now
    finally:
        training.close()


def _clocks() -> NDArray[np.float64]:
    """Seconds of the wall's clock, and of the processor in this thread."""
    return np.array([time.perf_counter(), time.thread_time()])


def _same_plane(source: Source, known: Mapping[Source, object]) -> Source | None:
    return next((k for k in known if k.layer == source.layer and k.plane == source.plane), None)


def _normalised(source: Source, model: Model, shots: Mapping[Source, Plane]) -> NDArray[np.float32] | None:
    """A plane as the network sees it but for its scale; None where to read it would take too long."""
    from ...data.channel_mix import mixed
    from ...data.plane import normalise

    shot = _same_plane(source, shots)
    size = np.prod([side for side, number in zip(source.grid, source.plane, strict=True) if number is None])
    if size > LARGEST_PLANE or (shot is None and not isinstance(source.array, np.ndarray)):
        return None
    try:
        plane = source.read() if shot is None else shots[shot]
        return normalise(mixed(plane, model.card.mix))
    except ImageError:  # of an image that is not trained on: told when somebody predicts it
        return None


def _predicted(model: Model, image: NDArray[np.float32], view: View) -> Preview:
    from ...prediction.probability import predict_window

    most = max(1, int(MOST_SIDE / model.card.factor))
    rows, columns = (_middle(part, most, side) for part, side in zip(view.part, image.shape, strict=True))
    return Preview(view.source, (rows, columns), predict_window(model, image, (rows, columns)))


def _middle(part: slice, most: int, side: int) -> slice:
    """At most `most` pixels in the middle of a span, all of them on an image with that side."""
    start, stop = max(0, part.start), min(side, part.stop)
    cut = max(0, stop - start - most) // 2
    return slice(start + cut, min(stop, start + cut + most))
