"""1 Image: which layer."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from .controls import choice, fill, form, group, hint, set_enabled
from .planes import current_plane, grid_of, pixels_of
from .session import Session


class ImageBox(QWidget):
    """Chooses the image layer, and says what of it is used."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        box, layout = group("1  Image")
        self.image_choice = choice()
        self.image_choice.activated.connect(self._choose)
        self.facts = hint()
        layout.addLayout(form(("Layer", self.image_choice)))
        layout.addWidget(self.facts)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(box)

    def refresh(self) -> None:
        session = self._session
        images = session.annotations.images
        fill(self.image_choice, [(image.name, image) for image in images], session.image)
        reason = None if images else "Open an image: File › Open, or File › Open Sample."
        set_enabled(self.image_choice, reason, "The image to annotate and to predict")
        self.facts.setText(reason or self._describe())

    def _describe(self) -> str:
        image = self._session.image
        if image is None:
            return ""
        grid, plane = grid_of(image), current_plane(image, self._session.viewer.dims)
        height, width = (size for size, number in zip(grid, plane, strict=True) if number is None)
        facts = f"{height} × {width} px, {pixels_of(image).dtype}"
        if image.rgb:
            facts += ", colours mixed so that cells stand out"
        numbers = [  # counted from 0, as napari's own sliders do
            f"{number} of 0–{size - 1}"
            for size, number in zip(grid, plane, strict=True)
            if number is not None
        ]
        return facts + (f"; the plane on show: {', '.join(numbers)}" if numbers else "")

    def _choose(self, index: int) -> None:
        self._session.choose(image=self.image_choice.itemData(index))
