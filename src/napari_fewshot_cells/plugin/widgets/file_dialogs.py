"""Questions for files and folders that begin where the last one ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QWidget

if TYPE_CHECKING:
    from ..session.session import Session


def ask_files(session: Session, parent: QWidget, title: str) -> list[Path]:
    """Files that exist; none if the question was dropped."""
    names, _ = QFileDialog.getOpenFileNames(parent, title, last_folder(session))
    files = [Path(name) for name in names]
    if files:
        note_folder(session, files[0].parent)
    return files


def ask_file(session: Session, parent: QWidget, title: str, formats: str) -> Path | None:
    """A file that exists."""
    name, _ = QFileDialog.getOpenFileName(parent, title, last_folder(session), formats)
    if not name:
        return None
    note_folder(session, Path(name).parent)
    return Path(name)


def ask_folder(session: Session, parent: QWidget, title: str) -> Path | None:
    """A folder."""
    name = QFileDialog.getExistingDirectory(parent, title, last_folder(session))
    if not name:
        return None
    note_folder(session, Path(name))
    return Path(name)


def save_dialog(session: Session, parent: QWidget, title: str, name: str, formats: str) -> QFileDialog:
    """A question for a file to write, with a name to begin with; to be set up further and executed."""
    dialog = QFileDialog(parent, title, last_folder(session), formats)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.selectFile(name)
    dialog.fileSelected.connect(lambda file: note_folder(session, Path(file).parent))
    return dialog


def last_folder(session: Session) -> str:
    """Where to begin; Qt's own choice where there is none or it is gone."""
    folder = session.preferences.folder
    return folder if folder and Path(folder).is_dir() else ""


def note_folder(session: Session, folder: Path) -> None:
    """Begin there the next time."""
    session.prefer(folder=str(folder))
