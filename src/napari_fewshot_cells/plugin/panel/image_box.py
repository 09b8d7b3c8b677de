"""Box "1 Images": the images, how far each is annotated, and the channel that the network sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal, Slot
from qtpy.QtWidgets import QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from ..layers.channels import BEST_MIX, channels_of, choose_channel
from ..layers.planes import current_plane, grid_of, pixels_of
from ..session.file_opener import FileOpener
from ..session.messages import ERROR
from ..session.navigation import Navigator
from ..session.session import Session
from ..widgets.controls import choice, fill, form, group, hint, set_enabled
from ..widgets.file_dialogs import ask_files, ask_folder
from ..widgets.image_rows import Row, image_rows
from ..widgets.image_table import ImageTable
from ..widgets.thumbnails import Thumbnails
from .suggestion_row import SuggestionRow

if TYPE_CHECKING:
    from napari.layers import Image

_SHOWN = ("image", "layers", "channel", "plane", "view", "tally", "scores", "ranks", "running")


class ImageBox(QWidget):
    """The table of images and listed files, and the choice of a channel if an image has several."""

    said = Signal(str, str)
    failed = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.navigator = Navigator(session)
        self.files = FileOpener(session)
        self.files.changed.connect(self.refresh)
        self.files.opened.connect(self._on_opened)
        self.files.refused.connect(self._on_refused)
        self.files.failed.connect(self.failed)
        self._thumbnails = Thumbnails(session)
        self._thumbnails.failed.connect(self.failed)
        box, layout = group("1  Images")
        self.table = ImageTable(self._thumbnails)
        self.table.chosen.connect(self._on_row)
        self.add_button = QPushButton("Add files…")
        self.add_button.setToolTip(
            "List image files, or the images of a folder. Click a row to open its file."
        )
        menu = QMenu(self.add_button)
        menu.addAction("Files…").triggered.connect(self._add_files)
        menu.addAction("Folder…").triggered.connect(self._add_folder)
        self.open_action = menu.addAction("Open all listed files")
        self.open_action.triggered.connect(self._open_all)
        self.add_button.setMenu(menu)
        self.suggestion = SuggestionRow(session, self.navigator)
        self.facts = hint()
        self.channel_choice = choice()
        self.channel_choice.activated.connect(self._choose_channel)
        self.channel_row = QWidget()
        channel_form = form(("Channel", self.channel_choice))
        self.channel_row.setLayout(channel_form)
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        buttons.addWidget(self.add_button, 1)
        buttons.addWidget(self.suggestion.ask_button, 2)
        layout.addWidget(self.table)
        layout.addWidget(self.facts)
        layout.addWidget(self.channel_row)
        layout.addLayout(buttons)
        layout.addWidget(self.suggestion)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(box)
        session.any_of(*_SHOWN).connect(self.refresh)

    @Slot()
    def refresh(self) -> None:
        session = self._session
        self._thumbnails.tidy()
        rows = image_rows(session, self.files.paths, session.ranks)
        self.table.show_rows(rows, self._current(rows))
        none = "Open an image: File › Open, File › Open Sample, or Add files…"
        self.facts.setText(none if session.image is None else self._describe(session.image))
        self.open_action.setEnabled(bool(self.files.paths))
        channels = None if session.image is None else channels_of(session.image)
        self.channel_row.setVisible(channels is not None)
        if channels is not None:
            options = [(BEST_MIX, None), *((name, n) for n, name in enumerate(channels.names))]
            fill(self.channel_choice, options, channels.chosen)
            set_enabled(
                self.channel_choice,
                f"Wait until {session.running} is done, or press Cancel." if session.busy else None,
                "What the network sees of this image in fine-tuning and prediction: one channel,\n"
                "or the mix of channels in which the annotated cells stand out",
            )

    def _current(self, rows: list[Row]) -> int | None:
        image = self._session.image
        if image is None:
            return None
        shown = current_plane(image, self._session.viewer.dims)
        return next((n for n, row in enumerate(rows) if row.image == image and row.plane == shown), None)

    def _describe(self, image: Image) -> str:
        grid, plane = grid_of(image), current_plane(image, self._session.viewer.dims)
        height, width = (size for size, number in zip(grid, plane, strict=True) if number is None)
        facts = f"{height} × {width} px, {pixels_of(image).dtype}"
        channels = channels_of(image)
        if channels is not None and channels.chosen is None:
            facts += f", {'colours' if image.rgb else 'channels'} mixed so that cells stand out"
        numbers = [  # counted from 0, as on napari's sliders
            f"{number} of 0–{size - 1}"
            for size, number in zip(grid, plane, strict=True)
            if number is not None and size > 1
        ]
        return facts + (f"; the plane on show: {', '.join(numbers)}" if numbers else "")

    @Slot(object)
    def _on_row(self, row: Row) -> None:
        if row.path is not None:
            self.files.open(row.path)
        elif row.plane is not None and row.image in self._session.annotations.images:  # the layer may be gone
            self.suggestion.go_to(row.image, row.plane)

    @Slot(object)
    def _on_opened(self, image: Image) -> None:
        self.navigator.to(image, current_plane(image, self._session.viewer.dims))

    @Slot(str)
    def _on_refused(self, reason: str) -> None:
        self.said.emit(ERROR, reason)

    @Slot()
    def _add_files(self) -> None:
        self.files.add(ask_files(self._session, self, "Add image files"))

    @Slot()
    def _add_folder(self) -> None:
        folder = ask_folder(self._session, self, "Add the images of a folder")
        if folder:
            self.files.add([folder])

    @Slot()
    def _open_all(self) -> None:
        self.files.open(*self.files.paths)

    def _choose_channel(self, index: int) -> None:
        if self._session.image is not None:
            choose_channel(self._session.image, self.channel_choice.itemData(index))
            self._session.events.channel.emit()
