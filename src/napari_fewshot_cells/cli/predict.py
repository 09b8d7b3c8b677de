"""``napari-fewshot predict``: segments images with a model and writes instance labels."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.atomic_files import make_writable
from ..base.devices import check_device_name, choose_device
from ..base.errors import DataError
from .console import one_line_errors, stoppable
from .progress_bar import with_bar

if TYPE_CHECKING:
    from ..base.progress import Progress
    from ..prediction.predict_files import BatchEvent, FileReport

PARTLY_DONE = 1
"""Exit code if some images or jobs failed."""


@one_line_errors()
@stoppable("the images listed are done, the others are not; nothing is half-written.")
def predict(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model: its name in the library, or its file.")
    ],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IMAGE_OR_FOLDER...", help="Images, or folders of images.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.")],
    probability: Annotated[
        bool, typer.Option("--probability", help="Also write the probability (float32).")
    ] = False,
    min_size: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="PX",
            help="Drop objects of fewer pixels (default: a tenth of a typical cell).",
        ),
    ] = None,
    max_hole: Annotated[
        int, typer.Option(min=0, metavar="PX", help="Fill holes of up to this many pixels in cells.")
    ] = 0,
    threshold: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, metavar="P", help="A pixel above this probability belongs to a cell."),
    ] = 0.5,
    measurements: Annotated[
        bool,
        typer.Option("--measurements", help="Also write measurements of the objects (CSV, in pixels)."),
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write DIR/report.csv: the outcome for each image.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep existing results; segment the other images only.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
) -> None:
    """Segment images: for each, write the labels of its cells to DIR/<stem>.tif (int32).

    An image that cannot be used is reported and skipped; the exit code is then 1.
    """
    from ..data.image_files import list_images
    from ..models.model_file import read_model

    check_device_name(device)
    for path in inputs:
        list_images(path)  # reports what is missing before PyTorch is loaded
    loaded = read_model(model_file(model))
    from ..prediction.predict_files import (
        DONE,
        EXISTS,
        REPORT,
        BatchSettings,
        find_conflicts,
        find_inputs,
        outputs_of,
        predict_files,
        read_report,
    )

    files = find_inputs(inputs)
    settings = BatchSettings(
        probability=probability,
        measurements=measurements,
        overwrite=not resume,
        threshold=threshold,
        min_size=min_size,
        max_hole=max_hole,
    )
    for conflict in find_conflicts(files, out, settings).values():
        raise DataError(conflict)
    device = str(choose_device(device))
    make_writable(out)

    table = out / REPORT if report else None
    if table is not None:
        read_report(table)  # raises before the work if the file is not a report
    not_done = 0
    events = predict_files(loaded, files, out, settings, device=device, report=table)
    for file in files:
        row = with_bar(_until_report(events), file.name)
        labels = outputs_of(file, out, settings)[0]
        if row.status == DONE:
            typer.echo(f"{labels}  {row.objects} cells")
        elif row.status == EXISTS:
            typer.echo(f"{labels}  {row.message}")
        elif len(files) == 1:
            raise DataError(row.message)
        else:
            not_done += 1
            typer.echo(f"{row.status}: {' '.join(row.message.split())}", err=True)
    if not_done:
        typer.echo(f"error: {not_done} of {len(files)} images could not be used.", err=True)
        raise typer.Exit(PARTLY_DONE)


def _until_report(events: Generator[BatchEvent, None, None]) -> Generator[Progress, None, FileReport]:
    """Yield the progress of the next file; return its report."""
    from ..base.progress import Progress
    from ..prediction.predict_files import FileReport

    while True:
        event = next(events)
        if isinstance(event, FileReport):
            return event
        if isinstance(event, Progress):
            yield event


def model_file(name: str) -> Path:
    """The file of a model, by name or path. A path may lack its suffix, as in ``finetune --out``.

    Raises
    ------
    ModelError
        There is no such model.
    """
    from ..models.library import find_file

    path = Path(name)
    with_suffix = path.with_name(path.name + ".safetensors") if path.name else path
    if len(path.parts) > 1 and not path.is_file() and with_suffix.is_file():
        return with_suffix
    return find_file(name)
