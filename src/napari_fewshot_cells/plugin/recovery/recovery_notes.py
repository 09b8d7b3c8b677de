"""What is noted on labels layers once a recovery copy holds them: their image, and where the copy is."""

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
"""Key of an annotation's noted facts: its recovery folder, for the next panel in this window."""


def note_recovery(
    written: Snapshot, saved: SavedState, folder: Path | None, there: Collection[Layer]
) -> None:
    """Note on each annotation what it was painted on, and its recovery folder.

    Parameters
    ----------
    written : Snapshot
    saved : SavedState
        What has become of it on the disk.
    folder : Path or None
        Where the copy is.
    there : collection of Layer
        The layers that the viewer still has.
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
    """The folder of the panel that was open in this window before, to be gone on with."""
    for labels in annotated:
        folder = Path(noted(labels).get(_RECOVERY, ""))
        if folder.is_dir() and read_owner(folder).pid == os.getpid():
            return folder
    return None
