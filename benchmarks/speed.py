"""What keeping freed memory and folding batch norm save: a training step, and the prediction of 512×512.

python benchmarks/speed.py [--rounds 5] [--threads 1]

Each round runs a process without and one with `allocation.keep_freed_memory`, one after the other; in each,
medians of training steps of the button's recipe (FCRN, four crops of 128²) and of predictions of one view,
with the network as it is and as `networks.fused` makes it. Processor seconds, which other work disturbs less
than the clock, all threads together. Writes speed.csv and speed.md in docs/results.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from report import Row, origin, read, table, write_page

GIVEN_BACK, KEPT = "given back", "kept"
STEP, PLAIN, FUSED = "training step", "prediction", "prediction, fused"
COLUMNS = ("round", "memory", "what", "milliseconds", "threads", "commit", "date", "machine")


def main() -> None:
    """Run all rounds, or be one of their processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/results/speed.csv"))
    parser.add_argument("--measure", choices=(GIVEN_BACK, KEPT), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.threads)
        return
    from napari_fewshot_cells.training import provenance

    rows = []
    for number in range(options.rounds):
        for memory in (GIVEN_BACK, KEPT):
            child = [sys.executable, __file__, "--measure", memory, "--threads", str(options.threads)]
            told = subprocess.run(child, check=True, capture_output=True, text=True).stdout
            for line in told.splitlines():
                what, milliseconds = line.split("\t")
                stamp = (provenance.commit(), provenance.now(), provenance.machine())
                rows.append((number, memory, what, milliseconds, options.threads, *stamp))
                print(*rows[-1][:4], flush=True)
    with options.out.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    report(read(options.out.name), options.out.with_suffix(".md"))


def measure(memory: str, threads: int) -> None:
    """Print the medians of this process."""
    import torch

    from napari_fewshot_cells.allocation import keep_freed_memory
    from napari_fewshot_cells.networks import build_network, fused, store_statistics

    if memory == KEPT:
        keep_freed_memory()
    torch.set_num_threads(threads)
    network = build_network("fcrn", 0).to(memory_format=torch.channels_last)
    image, crops = (torch.randn(shape) for shape in ((1, 1, 512, 512), (4, 1, 128, 128)))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step() -> None:
        optimiser.zero_grad()
        network(crops)[0].square().mean().backward()
        optimiser.step()

    print(STEP, milliseconds(step, 20), sep="\t")
    store_statistics(network, [image])
    for what, ready in ((PLAIN, network.eval()), (FUSED, fused(network))):
        with torch.inference_mode():
            print(what, milliseconds(lambda ready=ready: ready(image), 10), sep="\t")


def milliseconds(work: Callable[[], object], times: int) -> str:
    """Median processor time, after three times that do not count."""
    spent = []
    for _ in range(3 + times):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return f"{1000 * median(spent[3:]):.1f}"


def report(rows: list[Row], path: Path) -> None:
    """As a page."""

    def of(memory: str, what: str) -> list[float]:
        return [float(r["milliseconds"]) for r in rows if (r["memory"], r["what"]) == (memory, what)]

    pairs = [
        ("training step, memory given back → kept", of(GIVEN_BACK, STEP), of(KEPT, STEP)),
        ("prediction, memory given back → kept", of(GIVEN_BACK, PLAIN), of(KEPT, PLAIN)),
        ("prediction, memory kept, network as it is → fused", of(KEPT, PLAIN), of(KEPT, FUSED)),
        ("prediction, neither → both", of(GIVEN_BACK, PLAIN), of(KEPT, FUSED)),
    ]
    lines = [
        [
            what,
            f"{median(b):.0f}",
            f"{median(a):.0f}",
            f"{median(x / y for x, y in zip(b, a, strict=True)):.2f}×",
        ]
        for what, b, a in pairs
    ]
    write_page(
        path,
        "What keeping freed memory and folding batch norm save",
        "Made by `python benchmarks/speed.py`: FCRN, steps of four crops of 128², views of 512²; processor "
        f"milliseconds with {rows[0]['threads']} thread, medians of {len(pairs[0][1])} processes each; the "
        "ratio is the median of those of the rounds.",
        table(["what", "before, ms", "after, ms", "faster"], lines),
        origin(rows),
    )


if __name__ == "__main__":
    main()
