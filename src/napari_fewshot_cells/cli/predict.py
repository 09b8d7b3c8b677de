"""``napari-fewshot predict``: a model and images in, instance labels out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError, ImageError
from .bar import with_bar
from .devices import check_device, enough_memory
from .entry import stoppable
from .errors import one_line_errors
from .output import make_writable, write_tiff

if TYPE_CHECKING:
    from ..models import Model

PARTLY_DONE = 1


@one_line_errors()
@stoppable("the images listed are done, the others are not; nothing is half-written.")
def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name in the model library or a file.")],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IMAGE_OR_FOLDER...", help="Images, or folders of images.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the results go.")],
    probability: Annotated[
        bool, typer.Option("--probability", help="Write the probability too (float32).")
    ] = False,
    min_size: Annotated[
        int | None,
        typer.Option(min=0, metavar="PX", help="Drop smaller objects (default: a tenth of a typical cell)."),
    ] = None,
    max_hole: Annotated[
        int, typer.Option(min=0, metavar="PX", help="Fill holes in cells up to this size.")
    ] = 0,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, metavar="P", help="Probability above which there is a cell.")
    ] = 0.5,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
) -> None:
    """Segment images: writes DIR/<stem>.tif, int32 labels of the cells, for each.

    An image that cannot be used is named and left out; the exit code is then 1.
    """
    files = input_files(inputs)
    check_outputs(files, out, probability=probability)
    check_device(device)
    loaded = find_model(model)
    make_writable(out)

    settings = {"threshold": threshold, "min_size": min_size, "max_hole": max_hole}
    failed = 0
    for file in files:
        try:
            cells = _predict_one(loaded, file, out, probability, settings, device)
        except ImageError as error:
            if len(files) == 1:
                raise
            failed += 1
            typer.echo(f"skipped: {' '.join(str(error).split())}", err=True)
        else:
            typer.echo(f"{out / file.stem}.tif  {cells} cells")
    if failed:
        typer.echo(f"error: {failed} of {len(files)} images could not be used.", err=True)
        raise typer.Exit(PARTLY_DONE)


def input_files(inputs: Iterable[Path]) -> list[Path]:
    """All images named, each once; raises `DataError` for a path that is not there or an empty folder."""
    from ..images import image_files

    files: dict[Path, Path] = {}
    for path in inputs:
        for file in image_files(path):
            files.setdefault(file.resolve(), file)
    return list(files.values())


def check_outputs(files: Sequence[Path], out: Path, *, probability: bool) -> None:
    """Raise `DataError` if two images would be written to one file, or one over an input."""
    read = {file.resolve() for file in files}
    writers: dict[Path, Path] = {}
    for file in files:
        for result in output_files(file, out, probability=probability):
            if result.resolve() in read:
                raise DataError(f"'{result}' is an input and would be overwritten; choose another --out.")
            other = writers.setdefault(result, file)
            if other != file:
                raise DataError(
                    f"'{other}' and '{file}' would both be written to '{result}'; rename one, or run twice."
                )


def output_files(file: Path, out: Path, *, probability: bool) -> list[Path]:
    """What is written for an image: its labels, then its probability if wanted."""
    names = [f"{file.stem}.tif"] + ([f"{file.stem}_probability.tif"] if probability else [])
    return [out / name for name in names]


def find_model(name: str) -> Model:
    """Load a model by name or path; a path may lack its suffix, as in ``finetune --out``.

    Raises
    ------
    ModelError
        No such model, or one that cannot be used.
    """
    from ..library import load_model

    path = Path(name)
    with_suffix = path.with_name(path.name + ".safetensors") if path.name else path
    if len(path.parts) > 1 and not path.is_file() and with_suffix.is_file():
        return load_model(with_suffix)
    return load_model(name)


def _predict_one(
    model: Model, file: Path, out: Path, probability: bool, settings: dict[str, Any], device: str
) -> int:
    """Segment one file and write the results; returns the number of cells."""
    from ..images import read_plane
    from ..instances import label_instances
    from ..prediction import predict_steps

    plane = read_plane(file)
    with enough_memory(device):
        chance = with_bar(predict_steps(model, plane, device=device), file.name)
    labels = label_instances(chance, diameter=model.card.diameter, **settings)
    for path, pixels in zip(output_files(file, out, probability=probability), (labels, chance), strict=False):
        write_tiff(path, pixels)
    return int(labels.max())
