"""The history, and previews within their share of time, without a window."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_fewshot_cells.base.progress import Progress
from napari_fewshot_cells.models.model import ModelCard
from napari_fewshot_cells.plugin.jobs import preview_job
from napari_fewshot_cells.plugin.jobs.predictions import Prediction
from napari_fewshot_cells.plugin.jobs.preview_job import View, with_previews
from napari_fewshot_cells.plugin.layers.plane_source import Source
from napari_fewshot_cells.plugin.session.history import History, Run, run_of
from napari_fewshot_cells.prediction.measurements import PixelSize

FIRST = Run("first", "2026-11-24T12:00:00+00:00", 1, ("a",), "fcrn")
SECOND = Run("second", "2026-11-24T12:01:00+00:00", 2, ("a", "b"), "fcrn")


def prediction(model: str = "first", layer: str = "image", plane: Any = (None, None)) -> Prediction:
    source: Any = SimpleNamespace(layer=layer, plane=plane)
    return Prediction(source, np.zeros((8, 8), np.float32), 6.0, {"model": model})


def test_runs_are_plain_data() -> None:
    card = ModelCard("x", "fcrn", date=FIRST.date, k_shot=1, shots=("a",), parent="fcrn", score="good")
    run = run_of("first", card)
    assert run == Run("first", FIRST.date, 1, ("a",), "fcrn", "good")
    again = json.loads(json.dumps(asdict(run)))
    assert Run(**{**again, "shots": tuple(again["shots"])}) == run


def test_runs_are_added_once_and_their_score_comes_later() -> None:
    history, changes = History(), []
    history.changed.connect(lambda: changes.append(history.runs))
    history.add(FIRST, SECOND)
    history.add(FIRST)
    assert history.runs == (FIRST, SECOND)
    history.note("first", score="Agrees", short="97 %")
    assert history.run("first") == Run(**{**asdict(FIRST), "score": "Agrees", "short": "97 %"})
    assert history.run("second") == SECOND
    assert history.run("third") is None
    assert len(changes) == 3


def test_predictions_belong_to_runs_and_memory_is_bounded() -> None:
    history = History(most_bytes=2 * 8 * 8 * 4)
    old, new = prediction("first"), prediction("second")
    history.keep(old)
    history.keep(new)
    assert history.predictions("first") == (old,)
    assert history.predictions("second") == (new,)
    history.keep(other := prediction("second", plane=(1, None, None)))
    assert history.predictions("first") == ()
    assert history.forgotten("first") == (old.source,)
    assert history.predictions("second") == (new, other)
    history.keep(again := prediction("first"))  # predicted again on demand, so now the newest
    assert history.predictions("first") == (again,)
    assert history.forgotten("second") == (new.source,)
    history.forget("image")
    assert not history.predictions("first") + history.predictions("second")
    assert not history.forgotten("second")


def test_a_renamed_model_keeps_its_run() -> None:
    history = History()
    history.add(FIRST, SECOND)
    history.keep(prediction("first"))
    history.show("first")
    history.rename("first", "mine")
    history.rename("unknown", "other")
    assert [run.model for run in history.runs] == ["mine", "second"]
    assert history.shown == "mine"
    (kept,) = history.predictions("mine")
    assert kept.provenance["model"] == "mine"
    assert history.predictions("first") == ()


def test_contacts_count_as_memory_and_stay_after_a_rename() -> None:
    history = History(most_bytes=2 * 8 * 8 * (4 + 2))
    history.add(Run("first", "", 1))
    for number in range(3):
        contact = np.zeros((8, 8), np.float16)
        history.keep(replace(prediction(plane=(number, None, None)), contact=contact))
    assert len(history.predictions("first")) == 2
    history.rename("first", "mine")
    assert all(kept.contact is not None for kept in history.predictions("mine"))


def test_one_prediction_alone_is_always_kept() -> None:
    history = History(most_bytes=1)
    history.keep(one := prediction())
    assert history.predictions("first") == (one,)


# --- previews within their share of time


class Clock:
    """A clock that moves only when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(
            preview_job, "time", SimpleNamespace(perf_counter=lambda: self.now, thread_time=lambda: self.now)
        )


def run_with_previews(clock: Clock, monkeypatch: pytest.MonkeyPatch, *, step: float, cost: float) -> Any:
    source: Any = Source("image", "image", None, False, (8, 8), (None, None), PixelSize())
    view = View(source, np.s_[0:8, 0:8])

    def training() -> Any:
        for done in range(1, 201):
            clock.now += step
            yield Progress("fine-tuning", done, 200, done * step)
        return "model"

    def predicted(*_: Any) -> str:
        clock.now += cost
        return "preview"

    monkeypatch.setattr(preview_job, "_predicted", predicted)
    monkeypatch.setattr(preview_job, "_normalised", lambda *_: np.zeros((8, 8)))
    events: list[tuple[float, Any]] = []
    steps = with_previews(training(), [lambda: None], lambda: view, {})
    while True:
        try:
            events.append((clock.now, next(steps)))
        except StopIteration as end:
            return end.value, events


@pytest.mark.parametrize(("step", "cost"), [(0.3, 0.4), (0.01, 0.2), (1.0, 0.1), (0.3, 3.0)])
def test_previews_take_a_tenth_of_the_time(monkeypatch: pytest.MonkeyPatch, step: float, cost: float) -> None:
    clock = Clock(monkeypatch)
    model, events = run_with_previews(clock, monkeypatch, step=step, cost=cost)
    shown = [when for when, event in events if event == "preview"]
    assert model == "model"
    assert len(events) - len(shown) == 200
    # the cost of the first preview is not known beforehand
    assert max(0, len(shown) - 1) * cost <= 0.1 * clock.now
    assert clock.now <= 200 * step * 1.12 + cost
    assert all(later - sooner >= preview_job.INTERVAL for sooner, later in pairwise(shown))
    if cost < step:
        assert len(shown) >= 5


def test_closing_ends_the_training() -> None:
    ended = []

    def training() -> Any:
        try:
            while True:
                yield Progress("fine-tuning", 1, 9, 0.0)
        finally:
            ended.append(True)

    steps = with_previews(training(), [], lambda: None, {})
    next(steps)
    steps.close()
    assert ended == [True]
