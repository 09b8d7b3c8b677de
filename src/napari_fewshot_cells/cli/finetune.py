"""``napari-fewshot finetune``: makes a model from annotated images."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.atomic_files import make_writable, writing
from ..base.devices import check_device_name, choose_device, enough_memory
from ..models.registry import DEFAULT, PAPERS_DEFAULT
from .choices import NETWORKS_HELP, Bundled
from .console import one_line_errors, stoppable
from .progress_bar import with_bar

if TYPE_CHECKING:
    from ..base.progress import Progress
    from ..data.support_set import SupportSet
    from ..models.model import Model

UNLIMITED_STEPS = 100_000
"""Step limit if `--seconds` ends the training: more steps than any machine takes."""


class RecipeName(StrEnum):
    """The recipe to fine-tune by."""

    button = "button"
    paper = "paper"


@one_line_errors()
@stoppable("no model was written.")
def finetune(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="An image or a folder of images.")],
    annotations: Annotated[
        Path,
        typer.Argument(
            metavar="ANNOTATIONS",
            help="A label image, or a folder of them paired with IMAGES by stem. "
            "0 is not annotated, 1 is background, 2 and above are cells.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            metavar="MODEL",
            help="The new model: a .safetensors file, or a name in the model library.",
        ),
    ],
    arch: Annotated[
        Bundled | None,
        typer.Option(
            help=f"The network to start from (default: {DEFAULT}; "
            f"with --recipe paper: {PAPERS_DEFAULT}). {NETWORKS_HELP}",
            show_default=False,
        ),
    ] = None,
    whole_image: Annotated[
        bool,
        typer.Option(
            "--whole-image", help="Every pixel is annotated: 0 is background, higher values are cells."
        ),
    ] = False,
    recipe: Annotated[
        RecipeName,
        typer.Option(help="button: as in the panel. paper: 20 epochs at native scale, minutes per image."),
    ] = RecipeName.button,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Train for this many seconds instead of a number of steps.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Train for this many steps (default: 60, plus 5 for each image after the first)."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the crops. The same seed gives the same model.")
    ] = 0,
    device: Annotated[str, typer.Option(help="Device to compute on: cpu, cuda or mps.")] = "cpu",
) -> None:
    """Fine-tune a bundled network on 1 to 10 annotated images."""
    if seconds is not None and steps is not None:
        raise typer.BadParameter("give --seconds or --steps, not both.")
    if recipe is RecipeName.paper and (seconds is not None or steps is not None):
        raise typer.BadParameter("the paper's recipe has a fixed length; leave out --seconds and --steps.")
    from ..models.library import load_model

    name, target = model_target(out)
    check_device_name(device)
    arch = arch or Bundled(PAPERS_DEFAULT if recipe is RecipeName.paper else DEFAULT)
    support = read_support(images, annotations, whole_image=whole_image)
    make_writable(target.parent)
    device = str(choose_device(device))  # imports PyTorch, which is slow: all else is checked first
    start = load_model(arch.value)

    work = _training(start, support, recipe, seconds=seconds, steps=steps, seed=seed, device=device)
    with enough_memory(device):
        model = with_bar(work, name, seconds=seconds)

    command = ["napari-fewshot", "finetune", str(images), str(annotations), "--out", out]
    command += ["--arch", arch.value, "--seed", str(seed), "--device", device]
    command += ["--whole-image"] if whole_image else []
    command += [] if recipe is RecipeName.button else ["--recipe", recipe.value]
    command += [] if steps is None else ["--steps", str(steps)]
    command += [] if seconds is None else ["--seconds", str(seconds)]
    model = replace(model, card=replace(model.card, command=shlex.join(command)))
    typer.echo(_summary(model, _save(model, name, target)))


def _training(
    start: Model,
    support: SupportSet,
    recipe: RecipeName,
    *,
    seconds: float | None,
    steps: int | None,
    seed: int,
    device: str,
) -> Generator[Progress, None, Model]:
    """The requested fine-tuning, ready to begin."""
    if recipe is RecipeName.paper:
        from ..finetune.paper_recipe import paper_fine_tune
        from ..finetune.recipe import PaperRecipe

        return paper_fine_tune(start, support, recipe=PaperRecipe(), seed=seed, device=device)
    from ..finetune.fine_tune import fine_tune
    from ..finetune.recipe import Recipe

    ours = Recipe()
    if steps is not None:
        ours = ours.with_steps(steps)
    elif seconds is not None:
        ours = replace(ours, steps=UNLIMITED_STEPS)
    return fine_tune(start, support, recipe=ours, seconds=seconds, seed=seed, device=device)


def model_target(out: str) -> tuple[str, Path]:
    """Name and file of the model to write; `out` is a path if it looks like one, else a library name.

    Raises
    ------
    ModelError
        The name is impossible for a file or is a bundled model's, or the path is an existing folder.
    """
    from ..base.errors import ModelError
    from ..models.library import own_path

    path = Path(out)
    is_path = path.suffix == ".safetensors" or len(path.parts) != 1 or out.endswith(("/", "\\"))
    if not is_path:
        return out, own_path(out)
    if out.endswith(("/", "\\")) or path.is_dir() or not path.name:
        raise ModelError(f"'{out}' is a folder; give --out a file or a model's name.")
    if path.suffix != ".safetensors":
        path = path.with_name(path.name + ".safetensors")
    return path.stem, path


def read_support(images: Path, annotations: Path, *, whole_image: bool) -> SupportSet:
    """Read and check the annotated images.

    Raises
    ------
    FewShotError
        An image or annotation cannot be used; the message names the file.
    """
    from ..data.image_files import pair_by_stem, read_labels, read_plane
    from ..data.support_set import make_shot, make_support_set

    pairs = pair_by_stem(images, annotations)
    return make_support_set(
        make_shot(read_plane(image), read_labels(annotation), whole_image=whole_image)
        for image, annotation in pairs
    )


def _save(model: Model, name: str, target: Path) -> Path:
    from ..models.model_file import write_model

    with writing(target):
        return write_model(model.renamed(name), target)


def _summary(model: Model, path: Path) -> str:
    card = model.card
    rows = [
        ("model", card.name),
        ("file", str(path)),
        ("images", str(card.k_shot)),
        ("steps", str(card.hyper_parameters["steps_done"])),
        ("diameter", f"{card.diameter:.1f} px"),
        ("threshold", f"{card.decision_logit:.2f} (logit)"),
    ]
    return "\n".join(f"{key:<10} {value}" for key, value in rows)
