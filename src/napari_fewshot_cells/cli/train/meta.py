"""``napari-fewshot-train meta``: Algorithm 1 from the command line."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...base.errors import FewShotError
from ..choices import Architecture, Distillation, Entropy, Precision, Target
from ..console import one_line_errors
from .progress_bar import show_training

if TYPE_CHECKING:
    from ...training.meta_training import MetaProgress


@one_line_errors()
def meta(
    out: Annotated[Path, typer.Option(help="Folder of the run: model, card, curves. A run in it goes on.")],
    arch: Annotated[Architecture, typer.Option(help="Network.")] = Architecture.fcrn,
    target: Annotated[Target, typer.Option(help="Set to leave out of the sources.")] = Target.none,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder laid out <set>/{images,masks}/NAME.png; fetched sets by default."),
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(help="Source of your own, DIR or NAME=DIR, laid out images/ masks/; may be repeated."),
    ] = None,
    alpha: Annotated[float, typer.Option(min=0, help="Weight of L_ER (Eq. 4).")] = 0.01,
    beta: Annotated[float, typer.Option(min=0, help="Weight of L_D (Eq. 5).")] = 0.01,
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
    entropy: Annotated[Entropy, typer.Option(help="L_ER as printed in Eq. 4 or full.")] = Entropy.printed,
    distillation: Annotated[
        Distillation, typer.Option(help="L_D over all pairs as in Eq. 5, or crop i with crop i.")
    ] = Distillation.pairwise,
    distinct_others: Annotated[bool, typer.Option(help="L_ER and L_D never use the same domain.")] = False,
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
    import torch

    from ...base.devices import choose_device
    from ...datasets.own_sets import choose_sources
    from ...models.model_file import read_model
    from ...training.budget import Budget
    from ...training.episodes import EpisodeShape, load_task
    from ...training.meta_training import meta_train, new_card
    from ...training.reptile import ReptileConfig, check_sources

    chosen = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    shape = EpisodeShape(
        k_shot, inner_steps, crops, other_crops, crop_size, scale_jitter, not grey, not native_scale
    )
    config = ReptileConfig(
        alpha,
        beta,
        meta_lr,
        lr,
        episode=shape,
        seed=seed,
        entropy=entropy.value,
        distillation=distillation.value,
        allow_same=not distinct_others,
        anneal=anneal,
    )
    chosen_sources = choose_sources(data, target.value, sources or [])
    check_sources(config, len(chosen_sources))
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
    return f"iteration {event.iteration}  {event.losses.task}  BCE {event.losses.bce:.3f}"
