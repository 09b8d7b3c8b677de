"""``python -m napari_fewshot_cells.cli.train`` is ``napari-fewshot-train``: torchrun starts it so."""

from __future__ import annotations

from .main import main

main()
