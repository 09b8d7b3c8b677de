"""What keeping freed memory, folding batch norm and the layout of weights save in training and prediction.

python benchmarks/speed.py [--rounds 5] [--threads 1]

Each round runs three processes, one after the other: with freed memory given back, with
`host_process.keep_freed_memory`, and with `keep_all_freed_memory`. Each measures medians of

- training steps of the button's recipe (FCRN, four crops of 128²);
- predictions of one view of 512², with the network unchanged and as `batch_norm.fused` makes it;
- the prediction of an image of 1024² by the button's network;
- in the first and the last, the paper's step (FCRN, 64 crops of 256², bfloat16), which needs some 5 GB;
- in the last, a fused view of 512² by each network, channels-last and as in a file, in float32 and in
  bfloat16.

These are processor seconds of all threads, which other work disturbs less than wall time. Writes speed.csv
and speed.md in docs/results.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median

from report import Row, origin, read, table, write_page

GIVEN_BACK, KEPT, ALL_KEPT = "given back", "kept", "all kept"
STEP, PLAIN, FUSED = "training step", "prediction", "prediction, fused"
LARGE, PAPER = "image of 1024²", "the paper's step"
LAYOUTS = {"as in a file": "contiguous_format", "channels-last": "channels_last"}
PRECISIONS = {"float32": False, "bfloat16": True}
COLUMNS = ("round", "memory", "what", "milliseconds", "threads", "commit", "date", "machine")


def main() -> None:
    """Run all rounds, or act as one of their processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/results/speed.csv"))
    parser.add_argument("--measure", choices=(GIVEN_BACK, KEPT, ALL_KEPT), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.threads)
        return
    from napari_fewshot_cells.training import provenance

    rows = []
    for number in range(options.rounds):
        for memory in (GIVEN_BACK, KEPT, ALL_KEPT):
            child = [sys.executable, __file__, "--measure", memory, "--threads", str(options.threads)]
            printed = subprocess.run(child, check=True, capture_output=True, text=True).stdout
            for line in printed.splitlines():
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

    from napari_fewshot_cells import predict
    from napari_fewshot_cells.base.host_process import keep_all_freed_memory, keep_freed_memory
    from napari_fewshot_cells.data.plane import to_plane
    from napari_fewshot_cells.models.batch_norm import fused, store_statistics
    from napari_fewshot_cells.models.library import load_model
    from napari_fewshot_cells.models.networks import build_network
    from napari_fewshot_cells.models.registry import DEFAULT, NETWORKS
    from napari_fewshot_cells.simulate import fluorescent_cells

    if memory == KEPT:
        keep_freed_memory()
    if memory == ALL_KEPT:
        keep_all_freed_memory()
    torch.set_num_threads(threads)
    network = build_network("fcrn", 0)
    shapes = ((1, 1, 512, 512), (4, 1, 128, 128), (64, 1, 256, 256))
    image, crops, papers = (torch.randn(shape) for shape in shapes)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step(crops: torch.Tensor, half: bool) -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits, _ = network(crops)
        logits.float().square().mean().backward()
        optimiser.step()

    print(STEP, milliseconds(lambda: step(crops, False), 20), sep="\t")
    if memory != KEPT:
        print(PAPER, milliseconds(lambda: step(papers, True), 3), sep="\t")
    store_statistics(network, [image])
    for what, ready in ((PLAIN, network.eval()), (FUSED, fused(network))):
        with torch.inference_mode():
            print(what, milliseconds(lambda ready=ready: ready(image), 10), sep="\t")
    model, large = load_model(DEFAULT), to_plane(fluorescent_cells((1024, 1024), seed=0)[0], "simulated")
    print(LARGE, milliseconds(lambda: predict(model, large), 5), sep="\t")
    if memory != ALL_KEPT:
        return
    for arch, layout, precision in product(NETWORKS, LAYOUTS, PRECISIONS):
        laid_out = fused(build_network(arch, 0)).to(memory_format=getattr(torch, LAYOUTS[layout]))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=PRECISIONS[precision]):
            spent = milliseconds(lambda ready=laid_out: ready(image), 10)
        print(view(arch, layout, precision), spent, sep="\t")


def view(arch: str, layout: str, precision: str) -> str:
    """Name of a network's view in the table of results."""
    return f"{arch}, {precision}, {layout}"


def milliseconds(work: Callable[[], object], times: int) -> str:
    """Median processor time, after three runs that do not count."""
    spent = []
    for _ in range(3 + times):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return f"{1000 * median(spent[3:]):.1f}"


def report(rows: list[Row], path: Path) -> None:
    """As a page."""
    from napari_fewshot_cells.models.registry import NETWORKS

    def of(memory: str, what: str) -> list[float]:
        return [float(r["milliseconds"]) for r in rows if (r["memory"], r["what"]) == (memory, what)]

    pairs = [
        ("training step, memory given back → kept", of(GIVEN_BACK, STEP), of(KEPT, STEP)),
        ("prediction, memory given back → kept", of(GIVEN_BACK, PLAIN), of(KEPT, PLAIN)),
        ("prediction, memory kept, network as it is → fused", of(KEPT, PLAIN), of(KEPT, FUSED)),
        ("prediction, neither → both", of(GIVEN_BACK, PLAIN), of(KEPT, FUSED)),
        ("image of 1024², memory given back → kept", of(GIVEN_BACK, LARGE), of(KEPT, LARGE)),
        ("the paper's step, memory given back → all kept", of(GIVEN_BACK, PAPER), of(ALL_KEPT, PAPER)),
        *(
            (
                f"{arch}, a view in {precision}, laid out {' → '.join(LAYOUTS)}",
                *(of(ALL_KEPT, view(arch, layout, precision)) for layout in LAYOUTS),
            )
            for arch, precision in product(NETWORKS, PRECISIONS)
        ),
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
        "What keeping freed memory, folding batch norm and the layout of weights save",
        "Made by `python benchmarks/speed.py`: FCRN, steps of four crops of 128², views of 512², the paper's "
        "step of 64 crops of 256² in bfloat16; the half U-Net on an image of 1024². Processor milliseconds "
        f"with {rows[0]['threads']} thread, medians of {len(pairs[0][1])} processes each. The ratio is the "
        "median of the rounds' ratios.",
        table(["what", "before, ms", "after, ms", "faster"], lines),
        origin(rows),
    )


if __name__ == "__main__":
    main()
