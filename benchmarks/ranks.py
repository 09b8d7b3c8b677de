"""Seconds of a meta-iteration spread over ranks of one thread each.

python benchmarks/ranks.py [--ranks 1 2] [--arch fcrn] [--iterations 5]

Runs episodes of the schedule "cpu" on four simulated source sets with `torchrun` and gloo, as a user would.
Overwrites docs/results/ranks.csv. The runs follow one another: start it when nothing else runs.
`benchmarks/scaling_report.py` makes the table of docs/scaling.md from it.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import torch
from skimage import io

from napari_fewshot_cells.simulate import electron_microscopy, fluorescent_cells
from napari_fewshot_cells.training import provenance
from napari_fewshot_cells.training.meta_training import CURVES_FILE

SIMULATIONS = {"nuclei": fluorescent_cells, "organelles": electron_microscopy}
SETS_OF_EACH = 2
IMAGES, SIDE = 6, 512  # of a set; px
COLUMNS = ("arch", "sources", "ranks", "iteration", "seconds", "commit", "date", "machine")


def main() -> None:
    """Run each number of ranks, and write the seconds of each iteration but the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/ranks.csv"))
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--arch", default="fcrn")
    parser.add_argument("--iterations", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as in the ranks, so that the machine's description fits
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sources = simulate_sources(Path(folder) / "sources")
        for ranks in arguments.ranks:
            run = Path(folder) / f"{ranks} ranks"
            train(run, sources, ranks, arguments.arch, arguments.iterations + 1)
            ends = iteration_ends(run / CURVES_FILE)
            for i, (before, after) in enumerate(pairwise(ends), 1):
                origin = provenance.commit(), provenance.now(), provenance.machine()
                rows.append((arguments.arch, len(sources), ranks, i, f"{after - before:.1f}", *origin))
                print(*rows[-1][:5], flush=True)
    with arguments.out.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def simulate_sources(folder: Path) -> list[Path]:
    """Source sets on disk, each with images/ and masks/."""
    sets = [(name, number) for number in range(SETS_OF_EACH) for name in SIMULATIONS]
    for name, number in sets:
        for seed in range(IMAGES):
            image, labels = SIMULATIONS[name]((SIDE, SIDE), seed=100 * number + seed)
            for kind, pixels in {"images": image, "masks": labels.astype("uint16")}.items():
                path = folder / f"{name}-{number}" / kind / f"{seed}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                io.imsave(path, pixels, check_contrast=False)
    return [folder / f"{name}-{number}" for name, number in sets]


def train(out: Path, sources: list[Path], ranks: int, arch: str, iterations: int) -> None:
    """Run a meta-training from its beginning."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    training = ["-m", "napari_fewshot_cells.cli.train", "meta", "--out", str(out), "--arch", arch]
    budget = ["--meta-steps", str(iterations), "--threads", "1"]
    chosen = [part for source in sources for part in ("--sources", f"{source.name}={source}")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher, *training, *budget, *chosen], check=True, env=environment)


def iteration_ends(curves: Path) -> list[float]:
    """Seconds from the beginning to the end of each iteration."""
    ends: dict[int, float] = {}
    with curves.open(newline="") as file:
        for row in csv.DictReader(file):
            ends[int(row["iteration"])] = float(row["seconds"])  # the last of its tasks
    return [ends[iteration] for iteration in sorted(ends)]


if __name__ == "__main__":
    main()
