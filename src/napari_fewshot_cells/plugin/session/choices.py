"""What is chosen, counted and running in the panel: fields that signal their changes, with no screen."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeVar

from psygnal import EmissionInfo, Signal, SignalGroup, SignalGroupDescriptor, SignalInstance

from ...projects.preferences import Preferences, Scope
from ..layers.plane_source import Tally

if TYPE_CHECKING:
    from napari.layers import Image

    from ...finetune.recipe import Recipe
    from ...models.library import ModelEntry
    from ..layers.planes import Ranks, Scores

THIS_IMAGE: Scope = "this image"
ALL_PLANES: Scope = "all planes"
ALL_IMAGES: Scope = "all images"

_Self = TypeVar("_Self")
_P = ParamSpec("_P")


def keywords_of(
    _: Callable[_P, object],
) -> Callable[[Callable[Concatenate[_Self, ...], None]], Callable[Concatenate[_Self, _P], None]]:
    """Have type checkers give a method the keywords of a dataclass, so that they are written once."""
    return lambda method: method


class ViewerEvents(SignalGroup):
    """What the viewer or a box did that no field holds.

    Signals
    -------
    layers
        Layers came, went, were renamed, or annotations were linked otherwise.
    results
        An image has a result that had none, or a result became the user's.
    channel
        The network sees another channel of an image.
    view
        The viewer shows other axes, or three of them.
    plane
        The viewer shows another plane.
    """

    layers = Signal()
    results = Signal()
    channel = Signal()
    view = Signal()
    plane = Signal()


@dataclass(kw_only=True, eq=False)
class Fields:
    """The values; `Choices` sets them.

    Attributes
    ----------
    image : Image or None
        The chosen layer; follows the viewer's active layer.
    models : tuple of ModelEntry
        The library.
    start, model : ModelEntry or None
        Where fine-tuning begins; what predicts.
    continued : bool
        Fine-tuning goes on from `model` instead.
    preview : bool
        A training shows what it has learnt so far.
    preferences : Preferences
        What is kept between starts; `PreferenceSync` reads and writes it.
    diameter : float or None
        Cell diameter in pixels; None takes it from the annotation.
    recipe : Recipe or None
        How to fine-tune; None is the button's own.
    scope : str
        What *Predict* is for.
    tally : Tally
        What is annotated, as of the last count.
    scores : Scores
        Of the model that was measured last, on its shots.
    ranks : Ranks
        What to annotate next.
    loading : bool
        PyTorch is still being imported.
    running : str or None
        What is going on, in a word.
    events : SignalGroup
        A signal for each field, and the `ViewerEvents`.
    """

    image: Image | None = None
    models: tuple[ModelEntry, ...] = ()
    start: ModelEntry | None = None
    model: ModelEntry | None = None
    continued: bool = False
    preview: bool = True
    preferences: Preferences = field(default_factory=Preferences)
    diameter: float | None = None
    recipe: Recipe | None = None
    scope: Scope = THIS_IMAGE
    tally: Tally = field(default_factory=Tally)
    scores: Scores = field(default_factory=dict)
    ranks: Ranks = field(default_factory=dict)
    loading: bool = True
    running: str | None = None

    # A layer, and a count that names layers, is the same only if it is the same object: psygnal would fall
    # back on comparing arrays. The other values are compared by ==.
    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor(
        signal_group_class=ViewerEvents,
        equality_operators={"image": operator.is_, "tally": operator.is_},
        connect_child_events=False,
    )


class Choices(Fields):
    """Sets the values, and signals what has changed: each of them, or several at once as one change.

    A value that stays the same is no change.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed: set[str] = set()
        self._gathering = False
        self._signals: dict[frozenset[str], SignalInstance] = {}
        self.events.connect(self._on_event)

    @keywords_of(Fields)
    def choose(self, **choices: Any) -> None:
        """Set some of the fields; who listens to several of them hears it once.

        Raises
        ------
        TypeError
            There is no such field.
        """
        unknown = choices.keys() - {field.name for field in fields(Fields)}
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(map(repr, sorted(unknown)))}")
        with self.together():
            for name, value in choices.items():
                setattr(self, name, value)

    def any_of(self, *names: str) -> SignalInstance:
        """The signal of several fields or happenings: one emission for all that change at once.

        Raises
        ------
        AttributeError
            There is no such field or happening.
        """
        for name in names:
            if name not in self.events:
                raise AttributeError(f"{type(self).__name__} has no field or event {name!r}")
        return self._signals.setdefault(frozenset(names), SignalInstance())

    @contextmanager
    def together(self) -> Iterator[None]:
        """Hold back every signal of what changes within until all of it has changed."""
        if self._gathering:
            yield
            return
        self._gathering = True
        with ExitStack() as stack:
            stack.callback(self._emit)  # last, after the signals of the fields
            for name in self.events:
                stack.enter_context(self.events[name].paused(lambda emissions: list(emissions)[-1]))
            yield

    def _on_event(self, event: EmissionInfo) -> None:
        self._changed.add(event.signal.name)
        if not self._gathering:
            self._emit()

    def _emit(self) -> None:
        self._gathering = False
        changed, self._changed = self._changed, set()
        for names, signal in tuple(self._signals.items()):
            if names & changed:
                signal.emit()
