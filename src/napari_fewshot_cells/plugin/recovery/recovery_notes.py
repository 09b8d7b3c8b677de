"""Notes on saved labels layers: the image they belong to, and the folder of the recovery copy."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ...projects.recovery import read_owner
from ..layers.metadata import IMAGE, note, noted

if TYPE_CHECKING:
    from napari.layers import Labels, Layer

    from ...projects.project_folder import SavedState
    from .snapshot import Snapshot

_RECOVERY = "recovery"
"""Key of an annotation's recovery folder, for the next panel in this window."""


def note_recovery(
    written: Snapshot, saved: SavedState, folder: Path | None, there: Collection[Layer]
) -> None:
    """Note on each saved annotation the image that it belongs to, and its recovery folder.

    Parameters
    ----------
    written : Snapshot
    saved : SavedState
        What was written to the disk.
    folder : Path or None
        The folder of the copy.
    there : collection of Layer
        The layers of the viewer.
    """
    records = saved.project.images
    for labels, state in zip(written.labels, written.state.labels, strict=True):
        number, facts = state.record.image, noted(labels)
        if number is None or labels not in there:
            continue
        before = facts.get(IMAGE)
        if before is None or before.fingerprint != records[number].fingerprint:
            note(labels, **{IMAGE: records[number]})
        if facts.get(_RECOVERY) != str(folder):
            note(labels, **{_RECOVERY: str(folder)})


def own_folder(annotated: Iterable[Labels]) -> Path | None:
    """The recovery folder of the last panel in this window, which the next panel goes on using."""
    for labels in annotated:
        folder = Path(noted(labels).get(_RECOVERY, ""))
        if folder.is_dir() and read_owner(folder).pid == os.getpid():
            return folder
    return None
