"""What is chosen, counted and running in the panel: fields that signal their changes."""

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
    """Give a method the keywords of a dataclass for type checkers, so that they are written only once."""
    return lambda method: method


class ViewerEvents(SignalGroup):
    """Signals of changes in the viewer that no field holds.

    Signals
    -------
    layers
        Layers were added, removed or renamed, or an annotation was linked to another image.
    results
        An image got its first result, or a result became the user's.
    channel
        Another channel of an image was chosen for the network.
    view
        The viewer shows other axes, or switched between 2-D and 3-D.
    plane
        The viewer moved to another plane.
    """

    layers = Signal()
    results = Signal()
    channel = Signal()
    view = Signal()
    plane = Signal()


@dataclass(kw_only=True, eq=False)
class Fields:
    """The values of the session; `Choices` sets them.

    Attributes
    ----------
    image : Image or None
        The chosen image; it follows the viewer's active layer.
    models : tuple of ModelEntry
        The models of the library.
    start, model : ModelEntry or None
        The model that fine-tuning starts from; the model that predicts.
    continued : bool
        Fine-tuning starts from `model` instead of `start`.
    preview : bool
        A training shows a preview.
    preferences : Preferences
        What is kept between sessions; `PreferenceSync` reads and writes it.
    diameter : float or None
        Cell diameter in pixels; None takes it from the annotation.
    recipe : Recipe or None
        How to fine-tune; None is the default recipe.
    scope : str
        Which planes *Predict* predicts.
    tally : Tally
        What was annotated at the last count.
    scores : Scores
        The scores of the last scored model on its shots.
    ranks : Ranks
        The rank of each plane in the order of what to annotate next.
    loading : bool
        PyTorch is still loading.
    running : str or None
        What runs now, in words for the user; None if nothing runs.
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

    # A layer, and a tally that holds layers, is compared by identity: psygnal would otherwise compare arrays.
    # The other values are compared by ==.
    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor(
        signal_group_class=ViewerEvents,
        equality_operators={"image": operator.is_, "tally": operator.is_},
        connect_child_events=False,
    )


class Choices(Fields):
    """Sets the fields and signals the changes: one signal per field, or one for several that change together.

    Setting an equal value signals nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed: set[str] = set()
        self._gathering = False
        self._signals: dict[frozenset[str], SignalInstance] = {}
        self.events.connect(self._on_event)

    @keywords_of(Fields)
    def choose(self, **choices: Any) -> None:
        """Set some fields. A listener to several of them is called once.

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
        """The signal of several fields or events: one emission for all that change together.

        Raises
        ------
        AttributeError
            There is no such field or event.
        """
        for name in names:
            if name not in self.events:
                raise AttributeError(f"{type(self).__name__} has no field or event {name!r}")
        return self._signals.setdefault(frozenset(names), SignalInstance())

    @contextmanager
    def together(self) -> Iterator[None]:
        """Hold back all signals until the block ends."""
        if self._gathering:
            yield
            return
        self._gathering = True
        with ExitStack() as stack:
            stack.callback(self._emit)  # runs last, after the signals of the fields
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
