"""``napari-fewshot evaluate``: scores predicted labels against the ground truth."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from ..base.atomic_files import make_writable, write_together
from ..base.errors import DataError
from .console import one_line_errors, stoppable

if TYPE_CHECKING:
    from ..data.plane import Labels
    from ..prediction.metrics import InstanceScore

COLUMNS = {
    "iou": "IoU",
    "ap50": "AP@0.5",
    "mean_ap": "mean AP",
    "pq": "PQ",
    "recall_touching": "touching",
    "recall_isolated": "isolated",
}
"""What the terminal shows, with its headings; the files hold everything."""


Numbers: TypeAlias = dict[str, float | None]
"""The scores of one image or of all by name, as in `prediction.metrics.SCORES`."""


@dataclass(frozen=True)
class Report:
    """Scores of all images, by name, and over all of them."""

    images: dict[str, Numbers]
    mean: Numbers
    sd: dict[str, float]  # over the images
    pooled: Numbers


@one_line_errors()
@stoppable("nothing was written.")
def evaluate(
    predicted: Annotated[
        Path, typer.Argument(metavar="PREDICTED", help="A label image, or a folder of them.")
    ],
    truth: Annotated[
        Path,
        typer.Argument(
            metavar="TRUTH",
            help="The ground truth: a label image, or a folder of them paired by stem. "
            "0 is background, every other value is one cell.",
        ),
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write all scores to this file.")
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Also write all scores to this table, a row per image."),
    ] = None,
) -> None:
    """Score labels: IoU of the foreground, as in the paper, and how well cells are separated.

    AP is the average precision of the cells, TP / (TP + FP + FN), at IoU 0.5 and as the mean over IoU 0.5,
    0.55, …, 0.95. PQ is the panoptic quality. "touching" and "isolated" are the recall at IoU 0.5 of true
    cells with and without another true cell in the 8-neighbourhood of their pixels. In "mean" each image has
    the same weight, in "pooled" each cell. The files also hold AP at IoU 0.75, SQ, RQ, F1 at IoU 0.5 and the
    error of the number of cells.

    An image with a single value above 0 is a mask: its cells are its connected components.
    """
    from ..data.image_files import pair_by_stem
    from ..data.readers import stem_of

    if json_file is not None and json_file == csv_file:
        raise DataError(f"'{json_file}' cannot be both files; give --json and --csv different names.")
    pairs = pair_by_stem(predicted, truth)
    _note_unpaired(predicted, {file for file, _ in pairs})
    for file in (json_file, csv_file):
        if file is not None:
            make_writable(file.parent)
    report = _report({stem_of(pair[1]): score(*pair) for pair in pairs})
    typer.echo(_table(report))
    contents: dict[Path, bytes] = {}
    if json_file is not None:
        contents[json_file] = _json(report).encode()
    if csv_file is not None:
        contents[csv_file] = _csv(report).encode()
    write_together(contents)


def score(predicted: Path, truth: Path) -> InstanceScore:
    """Compare two label files.

    Raises
    ------
    ImageError
        A file cannot be read.
    DataError
        The shapes differ.
    """
    from ..data.image_files import read_labels
    from ..prediction import metrics

    a, b = read_labels(predicted), read_labels(truth)
    if a.shape != b.shape:
        raise DataError(
            f"'{predicted}' has shape {a.shape}, but '{truth}' has {b.shape}; give labels of the same image."
        )
    return metrics.score(_instances(a), _instances(b))


def _note_unpaired(predicted: Path, paired: set[Path]) -> None:
    from ..data.image_files import list_images

    alone = [f for f in list_images(predicted) if f not in paired and not f.stem.endswith("_probability")]
    if alone:
        typer.echo(f"note: predicted files without a ground truth are not scored: {len(alone)}.", err=True)


def _instances(labels: Labels) -> Labels:
    from skimage.measure import label

    foreground = labels > 0
    is_mask = foreground.any() and labels[foreground].min() == labels.max()
    return label(foreground, connectivity=1).astype("int32") if is_mask else labels


def _report(scores: Mapping[str, InstanceScore]) -> Report:
    from ..prediction.metrics import averaged, pooled

    every = list(scores.values())
    return Report(
        images={name: image.numbers() for name, image in scores.items()},
        mean=averaged(every),
        sd={key: _spread([getattr(image, key) for image in every]) for key in ("iou", "ap50")},
        pooled=pooled(every).numbers(),
    )


def _spread(values: list[float]) -> float:
    """Standard deviation over the images (n − 1); 0 for a single image."""
    return stdev(values) if len(values) > 1 else 0.0


def _table(report: Report) -> str:
    rows = [*report.images.items(), ("mean", report.mean), ("pooled", report.pooled)]
    width = max(len(name) for name, _ in rows)
    cells = [["image", *COLUMNS.values(), "objects (true)"]]
    cells += [[name, *_cells(numbers)] for name, numbers in rows]
    lines = ["  ".join([name.ljust(width), *(f"{cell:<8}" for cell in row)]) for name, *row in cells]
    spreads = [f"{COLUMNS[key]} {report.mean[key]:.4f} ± {sd:.4f}" for key, sd in report.sd.items()]
    error = f"number of objects wrong by {report.mean['count_error']:.1f} per image"
    return "\n".join([*(line.rstrip() for line in lines), f"mean ± sd: {', '.join(spreads)}; {error}"])


def _cells(numbers: Numbers) -> list[str]:
    scores = ["–" if (value := numbers[key]) is None else f"{value:.4f}" for key in COLUMNS]
    predicted, true = (f"{numbers[key]:.1f}".removesuffix(".0") for key in ("n_predicted", "n_truth"))
    return [*scores, f"{predicted} ({true})"]


def _json(report: Report) -> str:
    content = {
        "n": len(report.images),
        "mean": report.mean,
        "sd": report.sd,
        "pooled": report.pooled,
        "images": [{"name": name, **numbers} for name, numbers in report.images.items()],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _csv(report: Report) -> str:
    """A row per image, then the two over all. A score that does not exist is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *report.mean])
    writer.writerows([name, *numbers.values()] for name, numbers in report.images.items())
    writer.writerow(["mean over images", *report.mean.values()])
    writer.writerow(["pooled over cells", *report.pooled.values()])
    return text.getvalue()
