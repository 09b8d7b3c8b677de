"""Recovery copies: a session's annotations, saved while napari runs, and kept beside the model library.

Each session has its own folder, ``recovery/DATE-TIME-PID``, laid out like a project. Its ``session.json``
names the process that writes it. Once that process has ended, the session is offered for restoring, unless a
person has saved or dismissed it. The last few sessions are kept in any case.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import numpy as np
import psutil
from pydantic import Field

from ..base.atomic_files import write_together, writing
from ..base.errors import ProjectError
from ..base.user_folder import user_home
from ..base.validation import InvalidError, parse_json, validated
from .label_files import planes_in
from .project import Project, read_project
from .project_folder import SavedState, SessionState, write_state

MOST_KEPT = 8
"""Number of ended sessions whose folders are kept."""

_OWNER = "session.json"
_LONG_AGO = 24 * 3600  # s


@dataclass(frozen=True)
class Owner:
    """The process that writes a recovery folder, and the state of the folder.

    Attributes
    ----------
    pid : int
    started : float
        Start of that process, in seconds since 1970: process ids are reused.
    host : str
    closed : bool
        Whether the panel was closed; otherwise the program still runs, or ended without closing it.
    settled : str
        "saved" (as a project), "restored" or "dismissed"; empty as long as the session is to be offered.
    """

    pid: Annotated[int, Field(ge=0, lt=2**31)]
    started: float
    host: str
    closed: bool = False
    settled: str = ""


@dataclass(frozen=True)
class Recovery:
    """A session that can be restored."""

    folder: Path
    project: Project
    owner: Owner

    @property
    def when(self) -> datetime:
        """Time of the last writing, in local time."""
        return datetime.fromisoformat(self.project.saved).astimezone()


def recovery_dir() -> Path:
    """Folder of the recovery copies, beside the folder of the models."""
    return user_home() / "recovery"


def recoveries() -> list[Recovery]:
    """Sessions to offer, the newest first: ended, with painted labels, and not settled."""
    found = []
    for folder in _folders():
        owner = read_owner(folder)
        if _is_written(folder, owner) or owner.settled:
            continue
        try:
            project = read_project(folder)
            recovery = Recovery(folder, project, owner)
            if project.annotated and recovery.when:
                found.append(recovery)
        except (ProjectError, ValueError):
            continue  # an unreadable folder stays, but cannot be restored by a button
    return sorted(found, key=lambda recovery: recovery.when, reverse=True)


def settle(folder: Path, how: str) -> None:
    """Mark a session as settled, so that it is not offered again; raises `DataError` if that fails."""
    _write_owner(folder, replace(read_owner(folder), settled=how))


def prune(most: int = MOST_KEPT) -> None:
    """Remove ended sessions beyond the last `most`, settled ones first."""
    over = [(folder, read_owner(folder)) for folder in _folders()]
    over = [(folder, owner) for folder, owner in over if not _is_written(folder, owner)]
    over.sort(key=lambda pair: (not pair[1].settled, pair[0].name))
    for folder, _ in over[: max(0, len(over) - most)]:
        shutil.rmtree(folder, ignore_errors=True)


def read_owner(folder: Path) -> Owner:
    """Owner of a recovery folder; if ``session.json`` is unreadable, a closed owner."""
    try:
        return validated(Owner, parse_json((folder / _OWNER).read_bytes()))
    except (OSError, InvalidError):
        return Owner(0, 0.0, "", closed=True)


def _is_written(folder: Path, owner: Owner) -> bool:
    """Whether the session still runs and may write to its folder."""
    if owner.closed:
        return False
    if owner.host != socket.gethostname():
        # Another machine with the same home, or this one renamed: only the time of the file is known
        return time.time() - (folder / _OWNER).stat().st_mtime < _LONG_AGO
    try:
        process = psutil.Process(owner.pid)
        same = abs(process.create_time() - owner.started) < 1
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # ended, or its id belongs to another user's process
        return False


def _write_owner(folder: Path, owner: Owner) -> None:
    write_together({folder / _OWNER: (json.dumps(asdict(owner)) + "\n").encode()})


def _folders() -> list[Path]:
    top = recovery_dir()
    return sorted(owner.parent for owner in top.glob(f"*/{_OWNER}"))


class RecoveryWriter:
    """Writes the recovery copies of one session; its folder is created once something is painted.

    Parameters
    ----------
    folder : Path, optional
        A folder that this session has written before and continues.

    Attributes
    ----------
    folder : Path or None
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._saved: SavedState | None = None
        self._in_project: Mapping[str, Mapping[str, int]] | None = None
        self._lock = Lock()
        process = psutil.Process()
        self._owner = Owner(process.pid, process.create_time(), socket.gethostname())

    def write(
        self, state: SessionState, *, scan: bool = True, saved: bool = False, closed: bool = False
    ) -> SavedState | None:
        """Write a state into the folder. Calls from several threads wait for each other.

        Parameters
        ----------
        state : SessionState
        scan : bool
            Whether labels may have changed since the previous call.
        saved : bool
            Whether a person has just saved these labels as a project. The session counts as saved until its
            labels change.
        closed : bool
            Whether this is the last call, because the panel is closed.

        Returns
        -------
        SavedState or None
            None if nothing has been painted yet.

        Raises
        ------
        DataError
            The disk is full or the folder cannot be written. The previous content stays.
        """
        with self._lock:
            if self.folder is None and not any(_painted(labels.array) for labels in state.labels):
                return None
            folder = self.folder or _new_folder()
            if not folder.is_dir():
                self._saved = None  # the folder is new or was removed
                with writing(folder):
                    folder.mkdir(parents=True, exist_ok=True)
            self.folder = folder
            there = read_owner(folder)
            if (there.pid, there.started) != (self._owner.pid, self._owner.started) or there.closed:
                _write_owner(folder, self._owner)
            self._saved = write_state(folder, state, self._saved, scan=scan)
            if saved:
                self._in_project = self._saved.checksums
            settled = "saved" if self._in_project == self._saved.checksums else ""
            owner = replace(self._owner, closed=closed, settled=settled)
            if read_owner(folder) != owner:
                _write_owner(folder, owner)
            return self._saved


def _painted(labels: Any) -> bool:
    return any(np.asarray(labels[index]).any() for _, index in planes_in(tuple(labels.shape)))


def _new_folder() -> Path:
    return recovery_dir() / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{os.getpid()}"
