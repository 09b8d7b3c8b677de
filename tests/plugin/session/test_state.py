"""A session signals a change once, to its listeners only, and only if the value differs."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_fewshot_cells.plugin.layers.plane_source import PlaneResult, Tally
from napari_fewshot_cells.plugin.session.session import Session
from napari_fewshot_cells.plugin.session.state import ALL_IMAGES


@pytest.fixture
def session() -> Session:
    return Session(ViewerModel())


class Listener:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def call(self) -> None:
        self.calls += 1


def test_a_field_that_does_not_exist_is_named(session: Session) -> None:
    with pytest.raises(TypeError, match="no field 'diametre'"):
        session.choose(scope=ALL_IMAGES, diametre=30.0)  # type: ignore[call-arg]
    assert session.scope != ALL_IMAGES  # no field was set
    with pytest.raises(AttributeError, match="'modle'"):
        session.any_of("model", "modle")
    with pytest.raises(TypeError, match="colapsed"):
        session.prefer(colapsed=())  # type: ignore[call-arg]


def test_a_listener_to_several_fields_is_called_once_and_for_no_other_field(session: Session) -> None:
    one, several, other = Listener(), Listener(), Listener()
    session.any_of("diameter").connect(one.call)
    session.any_of("diameter", "scope", "running").connect(several.call)
    session.any_of("preview", "layers").connect(other.call)
    session.choose(diameter=30.0, scope=ALL_IMAGES, continued=True)
    assert (one.calls, several.calls, other.calls) == (1, 1, 0)
    session.diameter = 31.0
    assert (one.calls, several.calls, other.calls) == (2, 2, 0)
    session.choose(running="predicting")
    assert (one.calls, several.calls, other.calls) == (2, 3, 0)


def test_all_fields_are_set_before_a_listener_is_called(session: Session) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.append((session.diameter, session.scope))

    session.events.diameter.connect(look)
    session.any_of("scope").connect(look)
    session.choose(diameter=30.0, scope=ALL_IMAGES)
    assert seen == [(30.0, ALL_IMAGES)] * 2


def test_a_value_that_stays_the_same_is_no_change(session: Session) -> None:
    listener = Listener()
    session.any_of("diameter", "scores", "tally").connect(listener.call)
    session.choose(diameter=None, scores={}, tally=session.tally)
    assert listener.calls == 0
    session.choose(tally=Tally())  # it holds layers, so it is compared by identity
    assert listener.calls == 1


def test_an_image_is_compared_by_identity(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    def compare(_: object, __: object) -> bool:
        raise AssertionError("compared by value")

    first, second = (session.viewer.add_image(np.zeros((8, 8)), name=name) for name in "ab")
    listener = Listener()
    session.any_of("image").connect(listener.call)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "__eq__", compare, raising=False)
        patch.setattr(Image, "__array__", lambda _: np.zeros((8, 8)), raising=False)
        session.choose(image=second)
        assert listener.calls == 0
        session.choose(image=first)
        assert listener.calls == 1


def test_a_change_made_by_a_listener_is_signalled_too(session: Session) -> None:
    listener = Listener()
    session.any_of("running").connect(lambda: session.choose(diameter=30.0))
    session.any_of("diameter").connect(listener.call)
    session.choose(running="predicting")
    assert (session.diameter, listener.calls) == (30.0, 1)


def test_viewer_events_are_signalled_too(session: Session) -> None:
    emitted: list[str] = []

    def by(name: str) -> Callable[[], None]:
        return lambda: emitted.append(name)

    for name in ("layers", "results", "view", "plane"):
        session.any_of(name).connect(by(name))
    both = Listener()
    session.any_of("image", "layers").connect(both.call)
    image = session.viewer.add_image(np.zeros((3, 40, 50)))
    assert both.calls == 1
    assert {"layers", "plane"} <= set(emitted)
    assert "results" not in emitted
    emitted.clear()
    table = {"index": np.array([1]), "area": np.array([9.0])}
    result = PlaneResult(session.source(image), np.ones((40, 50), np.int32), table, {"model": "mine"})
    layer = session.show(result)
    session.show(result)  # the same layer again
    assert layer is not None
    assert emitted.count("results") == 1
    session.results.release(layer)
    assert emitted.count("results") == 2
    emitted.clear()
    session.viewer.dims.ndisplay = 3
    assert emitted == ["view"]


def test_a_session_ends_with_its_last_owner() -> None:
    session = Session(ViewerModel())
    listener = Listener()
    session.any_of("image").connect(listener.call)
    session.close()
    gone = ref(session)
    del session
    gc.collect()
    assert gone() is None
