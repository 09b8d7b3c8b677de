"""The origin of a result: commit, machine, date."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import torch

from ..base.bfloat16 import multiplies_bfloat16
from ..base.version import __version__


def commit() -> str:
    """The checkout's commit, with "+" if tracked files differ; the version if there is no checkout."""
    top = Path(__file__).parents[3]
    if not (top / ".git").exists():
        return f"version {__version__}"
    revision = _git(top, "rev-parse", "--short=10", "HEAD")
    return revision + ("+" if _git(top, "status", "--porcelain", "--untracked-files=no") else "")


def machine(device: str = "cpu", precision: str = "32-true") -> str:
    """Processor, device, and precision if it is not plain float32, in one line."""
    if device.startswith("cuda"):
        special = f", {torch.cuda.get_device_name(device)}"
    else:
        special = ", bfloat16 units" if device == "cpu" and multiplies_bfloat16() else ""
    chosen = "" if precision == "32-true" else f", {precision}"
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads{special}, torch {torch.__version__}{chosen}"
    )


def now() -> str:
    """Date and time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(top: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=top, check=True, capture_output=True, text=True
    ).stdout.strip()
