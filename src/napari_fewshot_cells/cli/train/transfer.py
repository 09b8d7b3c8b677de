"""``napari-fewshot-train transfer``: trains the paper's baseline, transfer learning."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...base.errors import FewShotError
from ..choices import DEFAULT_ARCHITECTURE, NETWORKS_HELP, Architecture, Precision, Target
from ..console import one_line_errors
from .progress_bar import show_training

if TYPE_CHECKING:
    from ...training.transfer import TransferProgress


@one_line_errors()
def transfer(
    out: Annotated[Path, typer.Option(help="Folder of the run: model, card, curves. Resumes a run in it.")],
    arch: Annotated[Architecture, typer.Option(help=f"Network. {NETWORKS_HELP}")] = DEFAULT_ARCHITECTURE,
    target: Annotated[Target, typer.Option(help="Source set to leave out.")] = Target.none,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with <set>/{images,masks}/NAME.png (default: the downloaded sets)."),
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(help="Source of your own: DIR or NAME=DIR, with images/ and masks/; repeatable."),
    ] = None,
    lr: Annotated[float, typer.Option(min=0, help="Adam's learning rate.")] = 1e-3,
    batch: Annotated[int, typer.Option(min=1, help="Crops per step.")] = 64,
    crop_size: Annotated[int, typer.Option(min=32, help="Side of a crop in pixels.")] = 256,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Instead of random crops, use windows at this stride in pixels, unchanged (no jitter).",
        ),
    ] = None,
    scale_jitter: Annotated[float, typer.Option(min=1, help="Vary the scale by up to this factor.")] = 1.25,
    grey: Annotated[
        bool, typer.Option(help="Feed grey values, not the mix of channels in which objects are bright.")
    ] = False,
    native_scale: Annotated[
        bool, typer.Option(help="Keep the native scale: do not rescale objects to one diameter.")
    ] = False,
    by_set: Annotated[
        bool, typer.Option("--by-set", help="Take the crops of a step from one set; the sets take turns.")
    ] = False,
    balance: Annotated[
        float, typer.Option(min=0, help="Power of w in L_BCE; 1 is the paper's, 0.5 the button's.")
    ] = 1.0,
    anneal: Annotated[bool, typer.Option(help="Lower the learning rate to 0 over the run.")] = False,
    steps: Annotated[int | None, typer.Option(min=0, help="Adam steps.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after this many minutes.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and crops.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    precision: Annotated[
        Precision, typer.Option(help="auto: bfloat16 if the device computes it natively.")
    ] = Precision.full,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads (default: all).")] = None,
) -> None:
    """Train a network on all sources shuffled together: transfer learning, the paper's baseline.

    The folder always holds a checkpoint. Ctrl-C keeps it, and the same command resumes from it.
    """
    if steps is None and minutes is None:
        raise FewShotError("No length of training is given; add --steps or --minutes.")
    from ...base.devices import check_device_name, choose_device
    from ...training.budget import Budget
    from ...training.config import TransferConfig

    check_device_name(device)
    config = TransferConfig(
        lr=lr,
        batch=batch,
        crop_size=crop_size,
        stride=stride,
        scale_jitter=scale_jitter,
        mix=not grey,
        rescale=not native_scale,
        by_set=by_set,
        balance=balance,
        anneal=anneal,
        seed=seed,
    )
    from ...datasets.own_sets import choose_sources

    chosen_sources = choose_sources(data, target.value, sources or [])
    import torch

    from ...training.episodes import load_task
    from ...training.transfer import new_transfer_card, transfer_train

    chosen = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    command = shlex.join(["napari-fewshot-train", *sys.argv[1:]])
    card = new_transfer_card(arch.value, chosen_sources, config, command=command, device=str(chosen))
    budget = Budget(steps, minutes)
    tasks = [load_task(source) for source in chosen_sources]
    run = transfer_train(out, card, tasks, config, budget, device=device, precision=precision.value)
    show_training(run, budget, out, "transfer learning", _describe)


def _describe(event: TransferProgress) -> str:
    return f"step {event.iteration}  BCE {event.bce:.3f}"
