"""The state of the panel without a screen: what is chosen, painted, trained and running."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari.layers import Image, Labels
from psygnal import Signal

from ...projects.preferences import Preferences
from ..jobs.events import Predicting
from ..layers.annotation_layers import Annotation, Annotations
from ..layers.plane_source import Painted, PlaneResult, Source, Tally, every_source, source_on_show
from ..layers.result_layers import Results, is_prediction

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event

    from ...finetune.recipe import Recipe
    from ...models.library import ModelEntry
    from ..layers.planes import Ranks, Scores

FINE_TUNING, FINISHING, PREDICTING, CANCELLING = "fine-tuning", "finishing", "predicting", "cancelling"
BATCH, COMPARING, OPENING = "predicting a folder", "comparing", "opening a project"
THIS_IMAGE, ALL_PLANES, ALL_IMAGES = "this image", "all planes", "all images"


class Session:
    """What a person has chosen and made in the panel.

    It holds layers, never their names. Models are held as entries of the library: what the panel can use, the
    library has.

    Attributes
    ----------
    image : Image or None
        The chosen layer; follows the viewer's active layer.
    annotations : Annotations
    results : Results
    models : tuple of ModelEntry
        The library.
    start, model : ModelEntry or None
        Where fine-tuning begins; what predicts.
    continued : bool
        Fine-tuning goes on from `model` instead.
    preview : bool
        A training shows what it has learnt so far.
    preferences : Preferences
        What is kept between starts; `Settings` reads and writes it.
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
    closed : bool
    """

    changed = Signal()
    plane_changed = Signal()
    model_renamed = Signal(str, str)  # from, to
    preferred = Signal()  # of preferences that nothing on the screen depends on

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.annotations = Annotations(viewer)
        self.results = Results(viewer)
        self.image: Image | None = None
        self.models: tuple[ModelEntry, ...] = ()
        self.start: ModelEntry | None = None
        self.model: ModelEntry | None = None
        self.continued = False
        self.preview = True
        self.preferences = Preferences()
        self.diameter: float | None = None
        self.recipe: Recipe | None = None
        self.scope = THIS_IMAGE
        self.tally = Tally()
        self.scores: Scores = {}
        self.ranks: Ranks = {}
        self.loading = True
        self.running: str | None = None
        self.closed = False
        self._writing = False
        self._heard = (
            (self.annotations.changed, self._on_layers),
            (viewer.layers.selection.events.active, self._on_active),
            (viewer.dims.events.ndisplay, self._on_layers),
            (viewer.dims.events.order, self._on_layers),
            (viewer.dims.events.current_step, self._on_step),
        )
        for signal, slot in self._heard:
            signal.connect(slot)
        self._on_layers()

    def close(self) -> None:
        """Listen to the viewer no longer; closing twice is fine."""
        if self.closed:
            return
        self.closed = True
        for signal, slot in self._heard:
            signal.disconnect(slot)
        self._heard = ()
        self.annotations.close()

    # --- what is chosen

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self.running is not None

    @property
    def annotation(self) -> Annotation | None:
        """That of the chosen image."""
        return self.annotations.of(self.image)

    def choose(self, **choices: object) -> None:
        """Set attributes and tell it once."""
        for name, value in choices.items():
            setattr(self, name, value)
        self.changed.emit()

    def prefer(self, **preferences: object) -> None:
        """Set preferences that the screen does not show; they are kept between starts."""
        self.preferences = replace(self.preferences, **preferences)
        self.preferred.emit()

    def choose_annotation(self, labels: Labels | None) -> None:
        """Take a labels layer as the annotation of the chosen image.

        A prediction becomes the user's by this, and its 0 is background.

        Raises
        ------
        AnnotationError
            Another shape.
        """
        if self.image is None:
            return
        self.annotations.link(self.image, labels, whole_image=labels is not None and is_prediction(labels))
        if labels is not None:
            self.results.release(labels)

    def set_models(self, models: tuple[ModelEntry, ...], renamed: tuple[str, str] | None = None) -> None:
        """Take note of what the library holds now; choices of models that are gone fall back.

        `renamed` is an old and a new name: who has chosen the model keeps it.
        """
        by_name = {entry.name: entry for entry in models}
        if renamed is not None and renamed[1] in by_name:
            by_name[renamed[0]] = by_name[renamed[1]]
            self.model_renamed.emit(*renamed)
        kept = {
            role: by_name.get(chosen.name) if chosen else None
            for role, chosen in (("start", self.start), ("model", self.model))
        }
        kept["start"] = kept["start"] or next(iter(models), None)
        self.choose(models=models, loading=False, **kept)

    def adopt(self, entry: ModelEntry, **choices: object) -> None:
        """Predict with another model from now on."""
        models = self.models if entry in self.models else (*self.models, entry)
        self.choose(models=models, model=entry, **choices)

    def entry(self, name: str | None) -> ModelEntry | None:
        """The model of that name, if the library has it."""
        return next((entry for entry in self.models if entry.name == name), None)

    def show(self, result: PlaneResult | Predicting) -> Labels | None:
        """Write a result, or get its layer ready; see `Results`. The chosen image stays chosen."""
        self._writing = True  # a new layer passes the viewer's activity around
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
        """All annotation layers with their images, empty ones too."""
        return tuple(
            Painted(self.source(image), annotation.layer.data, annotation.whole_image)
            for image, annotation in self.annotations.items()
        )

    def targets(self) -> tuple[Source, ...]:
        """What *Predict* is to do."""
        if self.image is None:
            return ()
        if self.scope == THIS_IMAGE:
            return (self.source(self.image),)
        images = self.annotations.images if self.scope == ALL_IMAGES else [self.image]
        return tuple(source for image in images for source in every_source(image, self.viewer.dims))

    # --- what the viewer tells

    def _on_layers(self) -> None:
        images = self.annotations.images
        if self.image not in images:
            self.image = images[-1] if images else None
        self.scores = {plane: told for plane, told in self.scores.items() if plane[0] in images}
        self.changed.emit()

    def _on_active(self, event: Event) -> None:
        if self._writing:
            return
        layer = event.value
        image = self.annotations.image_of(layer) if isinstance(layer, Labels) else layer
        if image in self.annotations.images and image != self.image:
            self.choose(image=image)

    def _on_step(self) -> None:
        self.plane_changed.emit()
