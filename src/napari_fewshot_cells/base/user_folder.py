"""The folder in which the package keeps a user's models, preferences and recovery copies."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "NAPARI_FEWSHOT_HOME"


def user_home() -> Path:
    """The folder: in the user's data directory, or the value of the variable NAPARI_FEWSHOT_HOME."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) if home else platformdirs.user_data_path("napari-fewshot-cells")
