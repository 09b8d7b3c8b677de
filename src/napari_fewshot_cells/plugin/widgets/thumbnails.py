"""Thumbnails of image planes, made in a thread and cached."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal, Slot
from qtpy.QtGui import QImage, QPixmap

from ..jobs.threads import run_function
from ..layers.channels import channels_of
from ..layers.plane_source import Source, source_on_show
from ..layers.planes import PlaneIndex, pixels_of, plane_fits

if TYPE_CHECKING:
    from napari.layers import Image

    from ..session.session import Session

SIDE = 26  # px
_PERCENTILES = (1, 99.5)
_Key = tuple["Image", PlaneIndex]


def thumbnail(source: Source) -> NDArray[np.uint8]:
    """A plane reduced to at most `SIDE` px a side: (h, w), or (h, w, 3) for an RGB image."""
    sides = [size for size, number in zip(source.grid, source.plane, strict=True) if number is None]
    values = source.values(step=max(1, -(-max(sides) // SIDE))).astype(np.float32)
    if values.ndim == 3:
        values = values[..., :3] if source.rgb else values.mean(axis=-1)
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, _PERCENTILES) if known.size else (0, 1)
    unit = np.nan_to_num((values - low) / (high - low if high > low else 1), posinf=1, neginf=0)
    return np.ascontiguousarray(np.clip(unit, 0, 1) * 255, np.uint8)


class Thumbnails(QObject):
    """Makes thumbnails one at a time, for the visible rows only.

    Signals
    -------
    made
        One more thumbnail is ready.
    failed : Exception
        An unexpected error.
    """

    made = Signal()
    failed = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._kept: dict[_Key, tuple[object, QPixmap | None]] = {}
        self._wanted: list[_Key] = []
        self._worker: Any = None

    def of(self, image: Image, plane: PlaneIndex) -> QPixmap | None:
        """The thumbnail of a plane; None, and it will be made, if there is none. New data get a new one."""
        key, origin = (image, plane), (id(pixels_of(image)), channels_of(image))
        made_of, picture = self._kept.get(key, (None, None))
        if made_of != origin:
            self._kept[key] = origin, picture
            self._wanted.append(key)
            self._go_on()
        return picture

    def tidy(self) -> None:
        """Drop thumbnails of removed images."""
        there = self._session.annotations.images
        self._kept = {key: made for key, made in self._kept.items() if key[0] in there}

    def _go_on(self) -> None:
        self._wanted = [key for key in self._wanted if key in self._kept]
        if self._worker is not None or not self._wanted or self._session.closed:
            return
        image, plane = key = self._wanted.pop(0)
        shown = source_on_show(image, self._session.viewer.dims)
        if not plane_fits(plane, shown.plane, shown.grid):  # the data changed shape: the plane is gone
            self._go_on()
            return
        source = replace(shown, plane=plane)
        self._worker = run_function(_with_key, key, source, then=self._on_made, failed=self._on_failed)

    @Slot(object)
    def _on_made(self, made: tuple[_Key, NDArray[np.uint8]]) -> None:
        self._worker = None
        key, pixels = made
        if key in self._kept and not self._session.closed:
            self._kept[key] = self._kept[key][0], _to_pixmap(pixels)
            self.made.emit()
        self._go_on()

    @Slot(object)
    def _on_failed(self, error: Exception) -> None:
        self._worker = None
        self.failed.emit(error)
        self._go_on()


def _with_key(key: _Key, source: Source) -> tuple[_Key, NDArray[np.uint8]]:
    return key, thumbnail(source)


def _to_pixmap(pixels: NDArray[np.uint8]) -> QPixmap:
    height, width = pixels.shape[:2]
    form = QImage.Format.Format_RGB888 if pixels.ndim == 3 else QImage.Format.Format_Grayscale8
    image = QImage(pixels.tobytes(), width, height, pixels.strides[0], form)
    return QPixmap.fromImage(image)  # copies the pixels
