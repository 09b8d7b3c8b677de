"""What to annotate next: the button that asks, the answer, and the button that goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from ..jobs.suggest_job import Candidate, Place, Suggested
from ..layers.planes import PlaneIndex, current_plane, grid_of, plane_fits
from ..layers.region_outline import RegionOutline
from ..session.disabled_reasons import reason_predict_disabled
from ..session.navigation import Navigator
from ..session.session import Session
from ..widgets.controls import hint, set_enabled

if TYPE_CHECKING:
    from napari.layers import Image

    from ...models.library import ModelEntry


class SuggestionRow(QWidget):
    """Keeps the places that should be annotated, and outlines the next one.

    The row is visible while there is an answer; `ask_button` stands elsewhere. A place is done as soon as
    something is painted in it. Choosing another model drops all places.
    """

    requested = Signal()

    def __init__(self, session: Session, navigator: Navigator) -> None:
        super().__init__()
        self._session, self._navigator = session, navigator
        self.outline = RegionOutline(session.viewer)
        self.places: list[Place] = []
        self.current: Place | None = None
        self._asked: ModelEntry | None = None
        self._none_left = False
        self.ask_button = QPushButton("What to annotate next?")
        self.ask_button.clicked.connect(self.requested)
        self.go_button = QPushButton("Go there")
        self.go_button.clicked.connect(self.go)
        self.answer = hint()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.answer, 1)
        layout.addWidget(self.go_button)
        shown = session.any_of("image", "layers", "tally", "model", "running", "loading", "view")
        shown.connect(self.refresh)
        self.refresh()

    def show_places(self, suggested: Suggested) -> None:
        """Replace all places by those of a new answer."""
        self.places, self._asked, self.current = list(suggested.places), suggested.entry, None
        self._none_left = not self.places
        self.refresh()

    def clear(self) -> None:
        """Drop all places and remove the outline; clearing twice is fine."""
        self.places, self.current, self._none_left = [], None, False
        self._session.ranks = {}
        self.outline.remove()

    def refresh(self) -> None:
        """Drop places that are done or gone, rank the planes of the rest, outline the next place."""
        session = self._session
        if self._asked != session.model:
            self._asked = session.model
            self.clear()
        self.places = [place for place in self.places if self._is_there(place)]
        if self.current not in self.places:
            self.current = next(iter(self.places), None)
        while self.current is not None and self._is_done(self.current):
            self.places.remove(self.current)
            self.current = next(iter(self.places), None)
            self._none_left = self.current is None
        planes = dict.fromkeys((place.source.layer, place.source.plane) for place in self.places)
        session.ranks = {plane: rank for rank, plane in enumerate(planes, start=1)}
        if self.current is None:
            self.outline.remove()
        else:
            self.outline.show(self.current.source.layer, self.current.source.plane, self.current.box)
            self.outline.keep_with(session.image)
        self._show_answer()

    def _show_answer(self) -> None:
        place = self.current
        left = "Everything has been annotated, at least in part." if self._none_left else ""
        if place is not None:
            more = len(self.places) - 1
            left = (
                f"Least certain: the outlined part of '{place.source.label}' ({place.score:.0%}). "
                f"{more or 'No'} more place{'s' * (more != 1)}."
            )
            self.answer.setToolTip(
                f"Inconsistency {place.score:.0%}: predictions of the image turned, mirrored, darker "
                "or brighter disagree that much there"
            )
        self.answer.setText(left)
        self.setVisible(bool(left))
        set_enabled(
            self.ask_button,
            reason_predict_disabled(self._session),
            "Find where predictions of the images turned, mirrored, darker and brighter disagree:\n"
            "the model is uncertain there. Searches all images, and up to 25 planes of a stack.",
        )
        set_enabled(
            self.go_button,
            None if place else "Press 'What to annotate next?' first.",
            "Show the outlined part. Once you have painted in it, the next part is outlined.",
        )

    def go(self) -> None:
        """Show the place to annotate next."""
        if self.current is not None:
            self.go_to(self.current.source.layer, self.current.source.plane)

    def go_to(self, image: Image, plane: PlaneIndex) -> None:
        """Show a plane. If it has places to annotate, the most uncertain of them becomes the current one."""
        of_plane = [p for p in self.places if p.source.layer == image and p.source.plane == plane]
        if of_plane and self.current not in of_plane:
            self.current = of_plane[0]
        self._navigator.to(image, plane, self.current.box if of_plane and self.current else None)
        self.refresh()

    def _is_done(self, place: Place) -> bool:
        annotation = self._session.annotations.of(place.source.layer)
        labels = None if annotation is None else annotation.layer.data
        if labels is None or labels.shape != place.source.grid:
            return False
        return Candidate(place.source, labels).is_painted(place.box)

    def _is_there(self, place: Place) -> bool:
        """Whether the image is open with the same shape, and the viewer shows planes of that orientation."""
        image = place.source.layer
        if image not in self._session.annotations.images:
            return False
        shown, grid = current_plane(image, self._session.viewer.dims), grid_of(image)
        return grid == place.source.grid and plane_fits(place.source.plane, shown, grid)
