"""``python -m napari_fewshot_cells.cli.train`` is ``napari-fewshot-train``, as torchrun can start it."""

from __future__ import annotations

from .main import main

main()
