"""``python -m napari_fewshot_cells`` runs the command ``napari-fewshot``."""

from __future__ import annotations

from .cli.main import main

if __name__ == "__main__":
    main()
