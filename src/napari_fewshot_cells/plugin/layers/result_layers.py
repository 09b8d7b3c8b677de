"""Shows predictions in labels layers: updates them in place, but never overwrites what the user changed."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from psygnal import Signal
from qtpy.QtCore import QTimer

from .add_layer import hide_outlines, insert_unselected, show_one_by_one, touch
from .metadata import AWAITING, METADATA, is_temporary
from .planes import geometry_of, grid_of, place_on, window

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Image
    from napari.utils.events import Event

    from .plane_source import PlaneResult, Source


def is_prediction(labels: Labels) -> bool:
    """Whether a labels layer was predicted, even if the user has corrected it since."""
    return "model" in labels.metadata.get(METADATA, {})


class Results:
    """The result layer of each image. GUI thread only.

    Signals
    -------
    appeared
        An image got its first result.
    released
        A result layer became the user's.
    """

    appeared = Signal()
    released = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._of: dict[Image, Labels] = {}

    def of(self, image: Image | None) -> Labels | None:
        """The result layer that the next prediction of an image updates, or None."""
        labels = self.layer_of(image)
        return None if labels is None or is_temporary(labels) else labels

    def layer_of(self, image: Image | None) -> Labels | None:
        """The layer for an image's result, which may be empty and hidden; None if none has its shape."""
        if image is None:
            return None
        labels = self._of.get(image)
        if labels is None or labels not in self._viewer.layers or labels.data.shape != grid_of(image):
            return None
        return labels

    def release(self, labels: Labels) -> None:
        """Make a layer the user's: predictions no longer change it."""
        for image in [image for image, own in self._of.items() if own == labels]:
            self._of.pop(image)
            labels.events.paint.disconnect(self._on_edited)
            labels.events.data.disconnect(self._on_edited)
            if is_temporary(labels):
                labels.metadata = {key: value for key, value in labels.metadata.items() if key != METADATA}
            self.released.emit()

    def keep_ready(self, images: Collection[Image]) -> None:
        """Keep an empty, hidden result layer for each of these images, and for no other.

        Creating a napari layer blocks the GUI. Do it when annotation begins, not when training ends.
        """
        for image, layer in tuple(self._of.items()):
            if is_temporary(layer) and (image not in images or self.layer_of(image) is None):
                self._of.pop(image)
                if layer in self._viewer.layers:
                    self._viewer.layers.remove(layer)
        for image in images:
            if self.layer_of(image) is None:
                self._add(image)

    def prepare(self, source: Source) -> Labels | None:
        """The layer for a plane's result; it is made if there is none.

        Making it is most of the time for which `write` blocks the GUI.

        Returns
        -------
        Labels or None
            None if the image was removed or changed shape meanwhile.
        """
        image = source.layer
        if image not in self._viewer.layers or grid_of(image) != source.grid:
            return None
        return self.layer_of(image) or self._add(image)

    def write(self, result: PlaneResult) -> Labels | None:
        """Write a plane's objects into the image's result layer.

        Returns
        -------
        Labels or None
            As for `prepare`.
        """
        layer = self.prepare(result.source)
        if layer is None:
            return None
        elsewhere = _rows_of_other_planes(layer, result)
        # napari finds features by label alone, so labels are unique across the planes of a stack
        offset = int(elsewhere["index"].max()) if len(elsewhere) else 0
        first = is_temporary(layer)
        labels = np.where(result.labels, result.labels + offset, 0) if offset else result.labels
        there = window(result.source.plane)
        changed = not np.array_equal(layer.data[there], labels)
        layer.data[there] = labels
        layer.features = _with_rows(elsewhere, result, offset)
        layer.metadata = {**layer.metadata, METADATA: _provenance(layer, result)}
        # Drawing a large plane takes as long as writing it: do it in the next turn of the event loop.
        if first:
            place_on(layer, result.source.layer)  # the image may have moved since the layer was made
            QTimer.singleShot(0, partial(setattr, layer, "visible", True))
            self.appeared.emit()
        elif changed:
            QTimer.singleShot(0, layer.refresh)
        return layer

    def _add(self, image: Image) -> Labels:
        layer = Labels(
            np.zeros(grid_of(image), np.int32),
            name=f"cells {image.name}",
            opacity=0.5,
            visible=False,
            metadata={METADATA: {AWAITING: True}},
            **geometry_of(image),
        )
        outlines = hide_outlines(layer)
        # directly above its image, so annotations stay on top
        insert_unselected(self._viewer.layers, self._viewer.layers.index(image) + 1, layer)
        show_one_by_one(outlines)
        if layer.ndim == 2:  # most planes of a stack may never be predicted and need no memory
            touch(layer.data)
        self._of[image] = layer
        layer.events.paint.connect(self._on_edited)
        layer.events.data.connect(self._on_edited)
        return layer

    def _on_edited(self, event: Event) -> None:
        self.release(event.source)


def _plane_columns(result: PlaneResult) -> dict[str, int]:
    return {f"plane-{axis}": n for axis, n in enumerate(result.source.plane) if n is not None}


def _rows_of_other_planes(layer: Labels, result: PlaneResult) -> pd.DataFrame:
    columns, table = _plane_columns(result), layer.features
    if "index" not in table or not columns or not set(columns) <= set(table):
        return table.iloc[:0]
    same = np.logical_and.reduce([table[name] == number for name, number in columns.items()])
    return table[~same & (table["index"] > 0)]


def _with_rows(elsewhere: pd.DataFrame, result: PlaneResult, offset: int) -> pd.DataFrame:
    import pandas as pd

    rows = pd.DataFrame(result.table)
    if len(rows.columns) < len(elsewhere.columns):  # not yet measured: keep the columns, empty
        rows = rows.reindex(columns=elsewhere.columns)
    rows["index"] += offset
    rows = rows.assign(**_plane_columns(result))
    if not len(elsewhere):
        return rows
    # if no other plane has a value in a column, their objects are not yet measured
    return pd.concat([elsewhere.dropna(axis="columns", how="all"), rows], ignore_index=True)


def _provenance(layer: Labels, result: PlaneResult) -> dict[str, Any]:
    """The provenance of the last plane; for a stack also that of each plane, because they may differ."""
    fixed = tuple(_plane_columns(result).values())
    if not fixed:
        return result.provenance
    planes = layer.metadata.get(METADATA, {}).get("planes", {})
    return {**result.provenance, "planes": {**planes, fixed: result.provenance}}
