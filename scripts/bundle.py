"""Put a finished meta-training into pretrained/: python scripts/bundle.py RUN_FOLDER NAME"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from napari_fewshot_cells.models import Model, read_model, write_model
from napari_fewshot_cells.training.meta_training import MODEL_FILE
from napari_fewshot_cells.training.sources import FACTS


def main() -> None:
    """Copy weights and card under the bundled name, with the licences as they are known now."""
    run, name = Path(sys.argv[1]), sys.argv[2]
    model = read_model(run / MODEL_FILE)
    sources = tuple({**source, "licence": FACTS[source["name"]].licence} for source in model.card.sources)
    card = replace(model.card, name=name, sources=sources)
    print(write_model(Model(card, model.network), Path(__file__).parents[1] / "pretrained" / name))


if __name__ == "__main__":
    main()
