"""``napari-fewshot-train meta``: Algorithm 1 from the command line."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...base.errors import FewShotError
from ..choices import PAPERS_FIRST, WHAT_FOR, Architecture, Precision, Target
from ..console import one_line_errors
from .loss_options import with_loss_options
from .progress_bar import show_training

if TYPE_CHECKING:
    from ...training.meta_training import MetaProgress


@one_line_errors()
@with_loss_options
def meta(
    out: Annotated[Path, typer.Option(help="Folder of the run: model, card, curves. A run in it goes on.")],
    arch: Annotated[Architecture, typer.Option(help=f"Network. {WHAT_FOR}")] = PAPERS_FIRST,
    target: Annotated[Target, typer.Option(help="Set to leave out of the sources.")] = Target.none,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder laid out <set>/{images,masks}/NAME.png; fetched sets by default."),
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(help="Source of your own, DIR or NAME=DIR, laid out images/ masks/; may be repeated."),
    ] = None,
    *,
    losses: dict[str, Any],  # options: see `with_loss_options`
    meta_lr: Annotated[float, typer.Option(min=0, max=1, help="ε of Eq. 2.")] = 1.0,
    lr: Annotated[float, typer.Option(min=0, help="Adam's learning rate in the inner loop.")] = 1e-3,
    k_shot: Annotated[int, typer.Option(min=1, help="Images of a task that an episode draws.")] = 5,
    inner_steps: Annotated[int, typer.Option(min=1, help="Adam steps of an inner loop.")] = 8,
    crops: Annotated[int, typer.Option(min=1, help="Annotated crops in an inner step.")] = 5,
    other_crops: Annotated[int, typer.Option(min=1, help="Crops of each other domain in a step.")] = 1,
    crop_size: Annotated[int, typer.Option(min=32, help="Side of a crop in pixels.")] = 96,
    scale_jitter: Annotated[float, typer.Option(min=1, help="Scale varies by up to this factor.")] = 1.25,
    grey: Annotated[
        bool, typer.Option(help="Show grey values, not the mix of channels in which objects are bright.")
    ] = False,
    native_scale: Annotated[bool, typer.Option(help="Do not bring objects to one diameter first.")] = False,
    distinct_others: Annotated[bool, typer.Option(help="S̃_n and S̃_p are never of the same domain.")] = False,
    anneal: Annotated[bool, typer.Option(help="ε falls linearly to 0 over the run.")] = False,
    meta_steps: Annotated[int | None, typer.Option(min=0, help="Iterations of Algorithm 1.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after this time.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Model to begin with, say of 'transfer'; by default random weights.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights and episodes.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    precision: Annotated[
        Precision, typer.Option(help="auto: bfloat16 where the device likes it.")
    ] = Precision.full,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads; all by default.")] = None,
) -> None:
    """Meta-train a network: Reptile with weighted BCE, entropy regularisation and distillation.

    The folder holds a checkpoint at any time; Ctrl-C keeps it, and the same command goes on from it. Started
    by torchrun, one training is spread over all ranks.
    """
    if meta_steps is None and minutes is None:
        raise FewShotError("Say how long to train: --meta-steps or --minutes.")
    from ...base.devices import check_device_name, choose_device
    from ...training.budget import Budget
    from ...training.config import EpisodeShape, ReptileConfig, check_sources

    check_device_name(device)
    shape = EpisodeShape(
        k_shot, inner_steps, crops, other_crops, crop_size, scale_jitter, not grey, not native_scale
    )
    config = ReptileConfig(
        **losses,
        meta_lr=meta_lr,
        lr=lr,
        episode=shape,
        seed=seed,
        allow_same=not distinct_others,
        anneal=anneal,
    )
    from ...datasets.own_sets import choose_sources

    chosen_sources = choose_sources(data, target.value, sources or [])
    check_sources(config, len(chosen_sources))
    import torch

    from ...models.model_file import read_model
    from ...training.episodes import load_task
    from ...training.meta_training import meta_train, new_card

    chosen = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    command = shlex.join(["napari-fewshot-train", *sys.argv[1:]])
    card = new_card(arch.value, chosen_sources, config, command=command, device=str(chosen))
    budget = Budget(meta_steps, minutes)
    tasks = [load_task(source) for source in chosen_sources]
    steps = meta_train(
        out,
        card,
        tasks,
        config,
        budget,
        start=None if start is None else read_model(start),
        device=device,
        precision=precision.value,
    )
    show_training(steps, budget, out, "meta-training", _describe)


def _describe(event: MetaProgress) -> str:
    return f"iteration {event.iteration}  {event.losses.task}  BCE {event.losses.values['bce']:.3f}"
