"""``napari-fewshot-train meta``: Algorithm 1 from the command line."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import DataError, FewShotError
from .devices import check_device
from .errors import one_line_errors


class Arch(StrEnum):
    """The paper's two networks."""

    fcrn = "fcrn"
    unet = "unet"


class Target(StrEnum):
    """The set that is left out of the sources."""

    none = "none"
    B5 = "B5"
    B39 = "B39"
    ssTEM = "ssTEM"
    EM = "EM"
    TNBC = "TNBC"


@one_line_errors()
def meta(
    out: Annotated[Path, typer.Option(help="Folder of the run: model, card, curves. A run in it goes on.")],
    arch: Annotated[Arch, typer.Option(help="Network.")] = Arch.fcrn,
    target: Annotated[Target, typer.Option(help="Set to leave out of the sources.")] = Target.none,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder laid out <set>/{images,masks}/NAME.png; fetched sets by default."),
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
    invert: Annotated[float, typer.Option(min=0, max=1, help="Share of sets shown as negatives.")] = 0.5,
    native_scale: Annotated[bool, typer.Option(help="Do not bring objects to one diameter first.")] = False,
    meta_steps: Annotated[int | None, typer.Option(min=0, help="Iterations of Algorithm 1.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after this time.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights and episodes.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads; all by default.")] = None,
) -> None:
    """Meta-train a network: Reptile with weighted BCE, entropy regularisation and distillation.

    The folder holds a checkpoint at any time; Ctrl-C keeps it, and the same command goes on from it.
    """
    if meta_steps is None and minutes is None:
        raise FewShotError("Say how long to train: --meta-steps or --minutes.")
    check_device(device)
    import torch

    from ..training.meta_training import Budget, meta_train, new_card
    from ..training.reptile import ReptileConfig
    from ..training.sources import SOURCE_NAMES, data_folder, find_sources
    from ..training.tasks import EpisodeShape, load_task

    if threads is not None:
        torch.set_num_threads(threads)
    names = tuple(name for name in SOURCE_NAMES if name != target.value)
    sources = list(find_sources(data or data_folder(), names).values())
    if (alpha or beta) and len(sources) < 2:
        raise DataError("L_ER and L_D need at least two source sets.")
    shape = EpisodeShape(
        k_shot, inner_steps, crops, other_crops, crop_size, scale_jitter, invert, not native_scale
    )
    config = ReptileConfig(alpha, beta, meta_lr, lr, episode=shape, seed=seed)
    command = shlex.join(["napari-fewshot-train", *sys.argv[1:]])
    card = new_card(arch.value, sources, config, command=command, device=device)
    budget = Budget(meta_steps, minutes)
    steps = meta_train(out, card, [load_task(s) for s in sources], config, budget, device=device)
    _show(steps, budget, out)


def _show(steps: Any, budget: Any, out: Path) -> None:
    """Run with a progress bar; what is left on screen says where the model is."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as bar:
            row = bar.add_task("meta-training", total=1.0)
            for event in steps:
                losses = event.losses
                text = f"iteration {event.iteration}  {losses.task}  BCE {losses.bce:.3f}"
                bar.update(row, description=text, completed=_share(event, budget))
    except KeyboardInterrupt:
        steps.close()
        console.print(
            f"Stopped; the last complete iteration is in {out}. The same command goes on from there."
        )
        raise typer.Exit(130) from None
    typer.echo(out / "model.safetensors")


def _share(event: Any, budget: Any) -> float:
    by_steps = event.iteration / budget.meta_steps if budget.meta_steps else 0.0
    by_time = event.seconds / (60 * budget.minutes) if budget.minutes else 0.0
    return min(1.0, max(by_steps, by_time))
