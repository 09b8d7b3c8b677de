"""Put a finished meta-training into pretrained/: python scripts/bundle.py RUN_FOLDER NAME [--half]

NAME may contain a folder, as in leave-one-out/fcrn-without-EM. --half stores the weights in half precision,
for starts that are kept to repeat measurements and do not go into the wheel.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from napari_fewshot_cells.datasets.five_sets import PUBLISHED_SETS
from napari_fewshot_cells.models.model import Model
from napari_fewshot_cells.models.model_file import read_model, write_model
from napari_fewshot_cells.training.config import MODEL_FILE


def main() -> None:
    """Copy weights and card under the bundled name, with the licences as known now."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--half", action="store_true")
    arguments = parser.parse_args()
    model = read_model(arguments.run / MODEL_FILE)
    known = {name: {"licence": facts.licence} for name, facts in PUBLISHED_SETS.items()}
    sources = tuple({**source, **known.get(source["name"], {})} for source in model.card.sources)
    card = replace(model.card, name=Path(arguments.name).name, sources=sources)
    network = model.network
    if arguments.half:
        card = replace(card, notes=f"{card.notes} Half precision.")
        network = network.half()
    print(write_model(Model(card, network), Path(__file__).parents[1] / "pretrained" / arguments.name))


if __name__ == "__main__":
    main()
