"""``napari-fewshot-train meta``: meta-trains a network by Algorithm 1."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...base.errors import FewShotError
from ..choices import DEFAULT_ARCHITECTURE, NETWORKS_HELP, Architecture, Precision, Target
from ..console import one_line_errors
from .loss_options import with_loss_options
from .progress_bar import show_training

if TYPE_CHECKING:
    from ...training.meta_training import MetaProgress


@one_line_errors()
@with_loss_options
def meta(
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
    *,
    losses: dict[str, Any],  # options: see `with_loss_options`
    meta_lr: Annotated[float, typer.Option(min=0, max=1, help="ε of Eq. 2.")] = 1.0,
    lr: Annotated[float, typer.Option(min=0, help="Adam's learning rate in the inner loop.")] = 1e-3,
    k_shot: Annotated[int, typer.Option(min=1, help="Images that an episode draws from a task.")] = 5,
    inner_steps: Annotated[int, typer.Option(min=1, help="Adam steps per inner loop.")] = 8,
    crops: Annotated[int, typer.Option(min=1, help="Annotated crops per inner step.")] = 5,
    other_crops: Annotated[int, typer.Option(min=1, help="Crops of each other domain per inner step.")] = 1,
    crop_size: Annotated[int, typer.Option(min=32, help="Side of a crop in pixels.")] = 96,
    scale_jitter: Annotated[float, typer.Option(min=1, help="Vary the scale by up to this factor.")] = 1.25,
    grey: Annotated[
        bool, typer.Option(help="Feed grey values, not the mix of channels in which objects are bright.")
    ] = False,
    native_scale: Annotated[
        bool, typer.Option(help="Keep the native scale: do not rescale objects to one diameter.")
    ] = False,
    distinct_others: Annotated[bool, typer.Option(help="Draw S̃_n and S̃_p from different domains.")] = False,
    anneal: Annotated[bool, typer.Option(help="Lower ε linearly to 0 over the run.")] = False,
    meta_steps: Annotated[int | None, typer.Option(min=0, help="Iterations of Algorithm 1.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after this many minutes.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Model to start from, e.g. of 'transfer' (default: random weights).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and episodes.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    precision: Annotated[
        Precision, typer.Option(help="auto: bfloat16 if the device computes it natively.")
    ] = Precision.full,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads (default: all).")] = None,
) -> None:
    """Meta-train a network: Reptile with weighted BCE, entropy regularisation and distillation.

    The folder always holds a checkpoint. Ctrl-C keeps it, and the same command resumes from it. Under
    torchrun, one training is spread over all ranks.
    """
    if meta_steps is None and minutes is None:
        raise FewShotError("No length of training is given; add --meta-steps or --minutes.")
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
    from ...training.ranks import leave_ranks

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
    try:
        show_training(steps, budget, out, "meta-training", _describe)
    finally:
        leave_ranks()


def _describe(event: MetaProgress) -> str:
    return f"iteration {event.iteration}  {event.losses.task}  BCE {event.losses.values['bce']:.3f}"
