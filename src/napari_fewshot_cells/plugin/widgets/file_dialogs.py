"""File and folder dialogs that start in the folder of the last one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QWidget

if TYPE_CHECKING:
    from ..session.session import Session


def ask_files(session: Session, parent: QWidget, title: str) -> list[Path]:
    """Ask for existing files; empty if the dialog was cancelled."""
    names, _ = QFileDialog.getOpenFileNames(parent, title, last_folder(session))
    files = [Path(name) for name in names]
    if files:
        note_folder(session, files[0].parent)
    return files


def ask_file(session: Session, parent: QWidget, title: str, formats: str) -> Path | None:
    """Ask for an existing file; None if the dialog was cancelled."""
    name, _ = QFileDialog.getOpenFileName(parent, title, last_folder(session), formats)
    if not name:
        return None
    note_folder(session, Path(name).parent)
    return Path(name)


def ask_folder(session: Session, parent: QWidget, title: str) -> Path | None:
    """Ask for a folder; None if the dialog was cancelled."""
    name = QFileDialog.getExistingDirectory(parent, title, last_folder(session))
    if not name:
        return None
    note_folder(session, Path(name))
    return Path(name)


def save_dialog(session: Session, parent: QWidget, title: str, name: str, formats: str) -> QFileDialog:
    """A dialog for a file to write, with a suggested name. The caller sets it up further and executes it."""
    dialog = QFileDialog(parent, title, last_folder(session), formats)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.selectFile(name)
    dialog.fileSelected.connect(lambda file: note_folder(session, Path(file).parent))
    return dialog


def last_folder(session: Session) -> str:
    """The folder to start in; empty, which leaves it to Qt, if none is remembered or it is gone."""
    folder = session.preferences.folder
    return folder if folder and Path(folder).is_dir() else ""


def note_folder(session: Session, folder: Path) -> None:
    """Remember the folder for the next dialog."""
    session.prefer(folder=str(folder))
