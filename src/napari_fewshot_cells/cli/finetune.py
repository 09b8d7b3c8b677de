"""``napari-fewshot finetune``: annotated images in, a model out."""

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
from .choices import WHAT_FOR, Bundled
from .console import one_line_errors, stoppable
from .progress_bar import with_bar

if TYPE_CHECKING:
    from ..base.progress import Progress
    from ..data.support_set import SupportSet
    from ..models.model import Model

STEPS_WITHOUT_END = 100_000
"""When time decides: more steps than any machine takes."""


class RecipeName(StrEnum):
    """How to fine-tune."""

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
            help="A label image or a folder of them, paired with the images by stem. "
            "0 is not annotated, 1 background, 2 and more cells.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option("--out", metavar="MODEL", help="A file (.safetensors) or a name in the model library."),
    ],
    arch: Annotated[
        Bundled | None,
        typer.Option(
            help="The network to begin with; "
            f"by default {DEFAULT}, with the paper's recipe {PAPERS_DEFAULT}. {WHAT_FOR}",
            show_default=False,
        ),
    ] = None,
    whole_image: Annotated[
        bool,
        typer.Option(
            "--whole-image", help="Everything is annotated: 0 is background, all above it are cells."
        ),
    ] = False,
    recipe: Annotated[
        RecipeName,
        typer.Option(help="The button's, or the paper's: 20 epochs at native scale, minutes for each image."),
    ] = RecipeName.button,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Train for this time instead of a number of steps.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Train for this many steps (default: 60, and 5 more for each further image)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the crops; the same seed, the same model.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
) -> None:
    """Fine-tune a bundled network on 1 to 10 annotated images."""
    if seconds is not None and steps is not None:
        raise typer.BadParameter("give --seconds or --steps, not both.")
    if recipe is RecipeName.paper and (seconds is not None or steps is not None):
        raise typer.BadParameter("the paper's recipe has its own length: no --seconds or --steps with it.")
    from ..models.library import load_model

    name, target = model_target(out)
    check_device_name(device)
    arch = arch or Bundled(PAPERS_DEFAULT if recipe is RecipeName.paper else DEFAULT)
    support = read_support(images, annotations, whole_image=whole_image)
    make_writable(target.parent)
    device = str(choose_device(device))  # imports PyTorch: what is wrong above is said at once
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
    """The fine-tuning that was asked for, ready to begin."""
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
        ours = replace(ours, steps=STEPS_WITHOUT_END)
    return fine_tune(start, support, recipe=ours, seconds=seconds, seed=seed, device=device)


def model_target(out: str) -> tuple[str, Path]:
    """Name and file of a model to be written: a path if it looks like one, else a name in the library.

    Raises
    ------
    ModelError
        A name that no file can have, that of a bundled model, or an existing folder's path.
    """
    from ..base.errors import ModelError
    from ..models.library import own_path

    path = Path(out)
    is_path = path.suffix == ".safetensors" or len(path.parts) != 1 or out.endswith(("/", "\\"))
    if not is_path:
        return out, own_path(out)
    if out.endswith(("/", "\\")) or path.is_dir() or not path.name:
        raise ModelError(f"'{out}' is a folder; --out needs the name of a file or of a model.")
    if path.suffix != ".safetensors":
        path = path.with_name(path.name + ".safetensors")
    return path.stem, path


def read_support(images: Path, annotations: Path, *, whole_image: bool) -> SupportSet:
    """Read and check the annotated images.

    Raises
    ------
    FewShotError
        Whatever is wrong with them, naming the file.
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
