"""Predicts the visible region between training steps, within a fixed share of the training's time."""

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
"""Previews take at most this share of the time since training began, in wall time and in processor time, so
that it also holds on a busy machine."""

INTERVAL = 1.5  # s, the shortest time between two previews
MOST_SIDE = 384  # px at the network's scale; more of a view is not predicted
LARGEST_PLANE = 4096**2  # px; a larger plane is not previewed, because all of it must be normalised

Part = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class View:
    """The visible part of a plane, in pixels of the plane."""

    source: Source
    part: Part


@dataclass(frozen=True, eq=False)
class Preview:
    """Foreground probability of a part of a plane, float32."""

    source: Source
    part: Part
    probability: NDArray[np.float32]


def with_previews(
    training: Generator[Progress, None, Model],
    copies: Sequence[Callable[[], Model]],
    view: Callable[[], View | None],
    shots: Mapping[Source, Plane],
) -> Generator[Progress | Preview, None, Model]:
    """Run a training with previews between its steps. The weights stay the same to the last bit.

    Parameters
    ----------
    training : generator
        From `finetune.fine_tune`.
    copies : sequence of callable
        ``copies[-1]()`` returns a copy of the model; available after the first step.
    view : callable
        Returns the current view, or None for no preview.
    shots : mapping
        Planes that were already read.
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
            expected = 2 * (now - begun) if cost is None else cost  # of the first preview: about two steps
            affordable = (spent + expected <= TIME_SHARE * (now - started)).all()
            due = now[0] - last[0] >= INTERVAL
            if step.stage != "fine-tuning" or not (affordable and due) or (step.remaining or 0) < expected[0]:
                continue
            wanted = view()
            if wanted is None:
                continue
            copied = copies[-1]()
            source = _same_plane(wanted.source, read) or wanted.source
            reading = _clocks()
            if source not in read:
                read = {source: _normalised(source, copied, shots)}  # keep only one: planes may be large
            reading = _clocks() - reading
            image = read[source]
            if image is not None:
                yield _predicted(copied, image, View(source, wanted.part))
            last = _clocks()
            cost, spent = last - now - reading, spent + last - now
    finally:
        training.close()


def _clocks() -> NDArray[np.float64]:
    """Wall time and this thread's processor time, in seconds."""
    return np.array([time.perf_counter(), time.thread_time()])


def _same_plane(source: Source, known: Mapping[Source, object]) -> Source | None:
    return next((k for k in known if k.layer == source.layer and k.plane == source.plane), None)


def _normalised(source: Source, model: Model, shots: Mapping[Source, Plane]) -> NDArray[np.float32] | None:
    """The normalised plane at its own scale; None if reading it would take too long."""
    from ...data.channel_mix import mix_channels
    from ...data.plane import normalise

    shot = _same_plane(source, shots)
    size = np.prod([side for side, number in zip(source.grid, source.plane, strict=True) if number is None])
    if size > LARGEST_PLANE or (shot is None and not isinstance(source.array, np.ndarray)):
        return None
    try:
        plane = source.read() if shot is None else shots[shot]
        return normalise(mix_channels(plane, model.card.mix))
    except ImageError:  # not a training image; *Predict* will report it
        return None


def _predicted(model: Model, image: NDArray[np.float32], view: View) -> Preview:
    from ...prediction.probability import predict_window

    most = max(1, int(MOST_SIDE / model.card.factor))
    rows, columns = (_middle(part, most, side) for part, side in zip(view.part, image.shape, strict=True))
    return Preview(view.source, (rows, columns), predict_window(model, image, (rows, columns)))


def _middle(part: slice, most: int, side: int) -> slice:
    """The middle of a span: at most `most` pixels, all within an image of that side."""
    start, stop = max(0, part.start), min(side, part.stop)
    cut = max(0, stop - start - most) // 2
    return slice(start + cut, min(stop, start + cut + most))
