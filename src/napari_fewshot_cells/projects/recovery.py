"""Recovery copies: what a session has painted, kept beside the model library while napari runs and after.

Each session has a folder of its own, ``recovery/DATE-TIME-PID``, laid out like a project, and in it a
``session.json`` that tells whose it is. It is offered again when its napari runs no more, unless a person
has saved or dismissed it; the last few are kept in any case.
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
from .project_folder import Saved, State, write_state

MOST_KEPT = 8
"""Folders of sessions that are over."""

_OWNER = "session.json"
_LONG_AGO = 24 * 3600  # s


@dataclass(frozen=True)
class Owner:
    """Who writes a recovery folder, and what became of it.

    Attributes
    ----------
    pid : int
    started : float
        When that process began, in seconds since 1970: numbers of processes are used again.
    host : str
    closed : bool
        The panel was closed; else the program ended without that.
    settled : str
        "saved" as a project, "restored" or "dismissed"; empty while it is to be offered.
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
        """When it was written last, in local time."""
        return datetime.fromisoformat(self.project.saved).astimezone()


def recovery_dir() -> Path:
    """Folder of the recovery copies, beside that of the models."""
    return user_home() / "recovery"


def recoveries() -> list[Recovery]:
    """Sessions to be offered, the newest first: ended, with something painted, not settled."""
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
            continue  # it stays where it is; there is nothing to be done about it with a button
    return sorted(found, key=lambda recovery: recovery.when, reverse=True)


def settle(folder: Path, how: str) -> None:
    """Note that a session need not be offered any more; raises `DataError` where that cannot be written."""
    _write_owner(folder, replace(read_owner(folder), settled=how))


def prune(most: int = MOST_KEPT) -> None:
    """Remove sessions that are over, beyond the last few; those that still wait go last."""
    over = [(folder, read_owner(folder)) for folder in _folders()]
    over = [(folder, owner) for folder, owner in over if not _is_written(folder, owner)]
    over.sort(key=lambda pair: (not pair[1].settled, pair[0].name))
    for folder, _ in over[: max(0, len(over) - most)]:
        shutil.rmtree(folder, ignore_errors=True)


def read_owner(folder: Path) -> Owner:
    """Whose a recovery folder is; of one that does not say so, nobody's."""
    try:
        return validated(Owner, parse_json((folder / _OWNER).read_bytes()))
    except (OSError, InvalidError):
        return Owner(0, 0.0, "", closed=True)


def _is_written(folder: Path, owner: Owner) -> bool:
    """Whether the session still runs, and so may still write to its folder."""
    if owner.closed:
        return False
    if owner.host != socket.gethostname():
        # Another machine with the same home, or this one under another name: one can only look at the time
        return time.time() - (folder / _OWNER).stat().st_mtime < _LONG_AGO
    try:
        process = psutil.Process(owner.pid)
        same = abs(process.create_time() - owner.started) < 1
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # gone, or its number is somebody else's now
        return False


def _write_owner(folder: Path, owner: Owner) -> None:
    write_together({folder / _OWNER: (json.dumps(asdict(owner)) + "\n").encode()})


def _folders() -> list[Path]:
    top = recovery_dir()
    return sorted(owner.parent for owner in top.glob(f"*/{_OWNER}"))


class RecoveryWriter:
    """Writes one session, from one thread at a time. Its folder is made when there is something to keep.

    Parameters
    ----------
    folder : Path, optional
        One that this session wrote before, to be gone on with.

    Attributes
    ----------
    folder : Path or None
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._saved: Saved | None = None
        self._in_project: Mapping[str, Mapping[str, int]] | None = None
        self._lock = Lock()
        process = psutil.Process()
        self._owner = Owner(process.pid, process.create_time(), socket.gethostname())

    def write(
        self, state: State, *, scan: bool = True, saved: bool = False, closed: bool = False
    ) -> Saved | None:
        """Bring the folder to a state.

        Parameters
        ----------
        state : State
        scan : bool
            Whether labels may have changed.
        saved : bool
            Whether a person has saved these very labels as a project; it holds until others are painted.
        closed : bool
            Whether it is the last.

        Returns
        -------
        Saved or None
            None where there is nothing to keep yet.

        Raises
        ------
        DataError
            The disk is full, the folder cannot be written; what was there before is still there.
        """
        with self._lock:
            if self.folder is None and not any(_painted(labels.array) for labels in state.labels):
                return None
            folder = self.folder or _new_folder()
            if not folder.is_dir():
                self._saved = None  # new, or somebody has removed it
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
