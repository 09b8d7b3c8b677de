"""The bundled models against random starts of the same networks, on a domain that none has seen.

python benchmarks/simulated.py [--rounds 3]

The button's fine-tuning on one simulated electron micrograph with a partial annotation (K = 1), tested on two
other simulated micrographs.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np

from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import make_shot, make_support_set
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.models.registry import NETWORKS
from napari_fewshot_cells.prediction.metrics import iou
from napari_fewshot_cells.prediction.probability import predict
from napari_fewshot_cells.simulate import electron_microscopy, partial_annotation
from napari_fewshot_cells.training import provenance

COLUMNS = ("network", "start", "round", "iou", "seconds", "commit", "date", "machine")


def main() -> None:
    """Every network from both starts, round by round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/results/simulated.csv"))
    arguments = parser.parse_args()
    rows = []
    for number in range(arguments.rounds):
        image, labels = electron_microscopy(seed=100 * number + 1)
        shot = make_shot(to_plane(image, "shot"), partial_annotation(labels, seed=number))
        tests = [electron_microscopy(seed=100 * number + k) for k in (2, 3)]
        for architecture in NETWORKS:
            random = Model(ModelCard("random", architecture), build_network(architecture, number))
            for name, start in {"random": random, "bundled": load_model(architecture)}.items():
                started = time.perf_counter()
                model = finish(fine_tune(start, make_support_set([shot]), seed=number))
                seconds = time.perf_counter() - started
                ious = [iou(predict(model, to_plane(x, "test")) > 0.5, y) for x, y in tests]
                origin = (provenance.commit(), provenance.now(), provenance.machine())
                rows.append((architecture, name, number, f"{np.mean(ious):.4f}", f"{seconds:.1f}", *origin))
                print(*rows[-1][:5], flush=True)
    with arguments.out.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


if __name__ == "__main__":
    main()
