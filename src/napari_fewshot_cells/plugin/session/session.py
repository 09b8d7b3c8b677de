"""The state of the panel without a widget: what is chosen, painted, trained and running."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from psygnal import Signal

from ...projects.preferences import Preferences
from ..jobs.events import Predicting
from ..layers.annotation_layers import Annotation, Annotations
from ..layers.plane_source import Painted, PlaneResult, Source, every_source, source_on_show
from ..layers.result_layers import Results, is_prediction
from .state import ALL_IMAGES, THIS_IMAGE, Choices, keywords_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event

    from ...models.library import ModelEntry

FINE_TUNING, FINISHING, PREDICTING, CANCELLING = "fine-tuning", "finishing", "predicting", "cancelling"
BATCH, COMPARING, OPENING = "predicting a folder", "comparing", "opening a project"


class Session(Choices):
    """What the user has chosen and made in the panel.

    It refers to layers by identity, never by name. It holds models as library entries, because the panel uses
    only models that the library has.

    `Fields` lists its values; `any_of` signals their changes.

    Attributes
    ----------
    annotations : Annotations
    results : Results
    closed : bool
    """

    model_renamed = Signal(str, str)  # old name, new name

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.annotations = Annotations(viewer)
        self.results = Results(viewer)
        self.closed = False
        self._writing = False
        self._connections: tuple[tuple[Any, Callable[..., None]], ...] = (
            (self.annotations.changed, self._on_layers),
            (self.results.appeared, self._on_results),
            (self.results.released, self._on_results),
            (viewer.layers.selection.events.active, self._on_active),
            (viewer.dims.events.ndisplay, self._on_view),
            (viewer.dims.events.order, self._on_view),
            (viewer.dims.events.current_step, self._on_step),
        )
        for signal, slot in self._connections:
            signal.connect(slot)
        self._on_layers()

    def close(self) -> None:
        """Stop listening to the viewer. It may be called twice."""
        if self.closed:
            return
        self.closed = True
        for signal, slot in self._connections:
            signal.disconnect(slot)
        self._connections = ()
        self.annotations.close()

    # --- what is chosen

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self.running is not None

    @property
    def annotation(self) -> Annotation | None:
        """The annotation of the chosen image."""
        return self.annotations.of(self.image)

    @keywords_of(Preferences)
    def prefer(self, **preferences: Any) -> None:
        """Set preferences; they are kept between sessions."""
        self.choose(preferences=replace(self.preferences, **preferences))

    def choose_annotation(self, labels: Labels | None) -> None:
        """Use a labels layer as the annotation of the chosen image; None unlinks it.

        If the layer is a prediction, it becomes the user's, and its label 0 means background.

        Raises
        ------
        AnnotationError
            The layer's shape differs from the image's.
        """
        if self.image is None:
            return
        self.annotations.link(self.image, labels, whole_image=labels is not None and is_prediction(labels))
        if labels is not None:
            self.results.release(labels)

    def set_models(self, models: tuple[ModelEntry, ...], renamed: tuple[str, str] | None = None) -> None:
        """Set the models of the library.

        If a chosen model is gone, `start` falls back to the first model and `model` to None. `renamed` is an
        old and a new name: a renamed model stays chosen.
        """
        by_name = {entry.name: entry for entry in models}
        if renamed is not None and renamed[1] in by_name:
            by_name[renamed[0]] = by_name[renamed[1]]
            self.model_renamed.emit(*renamed)
        start = by_name.get(self.start.name) if self.start else None
        model = by_name.get(self.model.name) if self.model else None
        self.choose(models=models, loading=False, start=start or next(iter(models), None), model=model)

    def adopt(self, entry: ModelEntry) -> None:
        """Use this model to predict from now on."""
        models = self.models if entry in self.models else (*self.models, entry)
        self.choose(models=models, model=entry)

    def entry(self, name: str | None) -> ModelEntry | None:
        """The library's model of that name, or None."""
        return next((entry for entry in self.models if entry.name == name), None)

    def show(self, result: PlaneResult | Predicting) -> Labels | None:
        """Write a result, or prepare its layer; see `Results`. The chosen image stays the same."""
        self._writing = True  # adding a layer changes the active layer for a moment
        try:
            if isinstance(result, PlaneResult):
                return self.results.write(result)
            return self.results.prepare(result.source)
        finally:
            self._writing = False

    # --- what goes into a job

    def source(self, image: Image) -> Source:
        """The plane of an image that the viewer shows."""
        return source_on_show(image, self.viewer.dims)

    def painted(self) -> tuple[Painted, ...]:
        """All annotation layers with their images, also empty ones."""
        return tuple(
            Painted(self.source(image), annotation.layer.data, annotation.whole_image)
            for image, annotation in self.annotations.items()
        )

    def targets(self) -> tuple[Source, ...]:
        """The planes that *Predict* predicts."""
        if self.image is None:
            return ()
        if self.scope == THIS_IMAGE:
            return (self.source(self.image),)
        images = self.annotations.images if self.scope == ALL_IMAGES else [self.image]
        return tuple(source for image in images for source in every_source(image, self.viewer.dims))

    # --- signals of the viewer

    def _on_layers(self) -> None:
        images = self.annotations.images
        with self.together():
            if self.image not in images:
                self.choose(image=images[-1] if images else None)
            self.choose(scores={plane: score for plane, score in self.scores.items() if plane[0] in images})
            self.events.layers.emit()

    def _on_results(self) -> None:
        self.events.results.emit()

    def _on_active(self, event: Event) -> None:
        if self._writing:
            return
        layer = event.value
        image = self.annotations.image_of(layer) if isinstance(layer, Labels) else layer
        if image in self.annotations.images and image != self.image:
            self.choose(image=image)

    def _on_view(self) -> None:
        self.events.view.emit()

    def _on_step(self) -> None:
        self.events.plane.emit()
