"""Where this package keeps a user's things: models, preferences, and recovery copies of sessions."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "NAPARI_FEWSHOT_HOME"


def user_home() -> Path:
    """A folder of the user's data directory; the environment variable NAPARI_FEWSHOT_HOME moves it."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) if home else platformdirs.user_data_path("napari-fewshot-cells")
