"""The fields of a session signal what changes: to whom it concerns, once, and only if it is another value."""

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
from napari_fewshot_cells.plugin.session.choices import ALL_IMAGES
from napari_fewshot_cells.plugin.session.session import Session


@pytest.fixture
def session() -> Session:
    return Session(ViewerModel())


class Listener:
    """Counts what it hears."""

    def __init__(self) -> None:
        self.heard = 0

    def hear(self) -> None:
        self.heard += 1


def test_a_field_that_does_not_exist_is_named(session: Session) -> None:
    with pytest.raises(TypeError, match="no field 'diametre'"):
        session.choose(scope=ALL_IMAGES, diametre=30.0)  # type: ignore[call-arg]
    assert session.scope != ALL_IMAGES  # nothing is half done
    with pytest.raises(AttributeError, match="'modle'"):
        session.any_of("model", "modle")
    with pytest.raises(TypeError, match="colapsed"):
        session.prefer(colapsed=())  # type: ignore[call-arg]


def test_who_listens_to_several_fields_hears_of_them_once_and_of_no_other(session: Session) -> None:
    one, several, other = Listener(), Listener(), Listener()
    session.any_of("diameter").connect(one.hear)
    session.any_of("diameter", "scope", "running").connect(several.hear)
    session.any_of("preview", "layers").connect(other.hear)
    session.choose(diameter=30.0, scope=ALL_IMAGES, continued=True)
    assert (one.heard, several.heard, other.heard) == (1, 1, 0)
    session.diameter = 31.0
    assert (one.heard, several.heard, other.heard) == (2, 2, 0)
    session.choose(running="predicting")
    assert (one.heard, several.heard, other.heard) == (2, 3, 0)


def test_all_has_changed_before_anybody_hears_of_it(session: Session) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.append((session.diameter, session.scope))

    session.events.diameter.connect(look)
    session.any_of("scope").connect(look)
    session.choose(diameter=30.0, scope=ALL_IMAGES)
    assert seen == [(30.0, ALL_IMAGES)] * 2


def test_a_value_that_stays_the_same_is_no_change(session: Session) -> None:
    listener = Listener()
    session.any_of("diameter", "scores", "tally").connect(listener.hear)
    session.choose(diameter=None, scores={}, tally=session.tally)
    assert listener.heard == 0
    session.choose(tally=Tally())  # it names layers, so it is not compared by value
    assert listener.heard == 1


def test_an_image_is_compared_by_identity(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    def compare(_: object, __: object) -> bool:
        raise AssertionError("compared by value")

    first, second = (session.viewer.add_image(np.zeros((8, 8)), name=name) for name in "ab")
    listener = Listener()
    session.any_of("image").connect(listener.hear)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "__eq__", compare, raising=False)
        patch.setattr(Image, "__array__", lambda _: np.zeros((8, 8)), raising=False)
        session.choose(image=second)
        assert listener.heard == 0
        session.choose(image=first)
        assert listener.heard == 1


def test_a_change_that_a_listener_makes_is_heard_too(session: Session) -> None:
    listener = Listener()
    session.any_of("running").connect(lambda: session.choose(diameter=30.0))
    session.any_of("diameter").connect(listener.hear)
    session.choose(running="predicting")
    assert (session.diameter, listener.heard) == (30.0, 1)


def test_what_no_field_holds_is_signalled_too(session: Session) -> None:
    heard: list[str] = []

    def by(name: str) -> Callable[[], None]:
        return lambda: heard.append(name)

    for name in ("layers", "results", "view", "plane"):
        session.any_of(name).connect(by(name))
    both = Listener()
    session.any_of("image", "layers").connect(both.hear)
    image = session.viewer.add_image(np.zeros((3, 40, 50)))
    assert both.heard == 1
    assert {"layers", "plane"} <= set(heard)
    assert "results" not in heard
    heard.clear()
    table = {"index": np.array([1]), "area": np.array([9.0])}
    result = PlaneResult(session.source(image), np.ones((40, 50), np.int32), table, {"model": "mine"})
    layer = session.show(result)
    session.show(result)  # the same layer again
    assert layer is not None
    assert heard.count("results") == 1
    session.results.release(layer)
    assert heard.count("results") == 2
    heard.clear()
    session.viewer.dims.ndisplay = 3
    assert heard == ["view"]


def test_a_session_ends_with_its_last_owner() -> None:
    session = Session(ViewerModel())
    listener = Listener()
    session.any_of("image").connect(listener.hear)
    session.close()
    gone = ref(session)
    del session
    gc.collect()
    assert gone() is None
