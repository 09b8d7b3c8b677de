"""``napari-fewshot evaluate``: scores predicted labels against the ground truth."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.atomic_files import make_writable, writing
from ..base.errors import DataError
from .console import one_line_errors, stoppable

if TYPE_CHECKING:
    from ..data.plane import Labels


@dataclass(frozen=True)
class Score:
    """Scores of one image: IoU of the foreground, and AP of the instances at IoU 0.5."""

    name: str
    iou: float
    ap50: float


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
            "0 is background, higher values are cells.",
        ),
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the scores to this file.")
    ] = None,
) -> None:
    """Score labels: IoU of the foreground as in the paper, average precision of the instances at IoU 0.5.

    Average precision is TP / (TP + FP + FN). An image with a single value above 0 is a mask: its instances
    are its connected components.
    """
    from ..data.image_files import pair_by_stem

    pairs = pair_by_stem(predicted, truth)
    _note_unpaired(predicted, {file for file, _ in pairs})
    if json_file is not None:
        make_writable(json_file.parent)
    scores = [score(*pair) for pair in pairs]
    typer.echo(_table(scores))
    if json_file is not None:
        _write_json(scores, json_file)


def score(predicted: Path, truth: Path) -> Score:
    """Compare two label files.

    Raises
    ------
    ImageError
        A file cannot be read.
    DataError
        The shapes differ.
    """
    from ..data.image_files import read_labels
    from ..data.readers import stem_of
    from ..prediction.metrics import average_precision, iou

    a, b = read_labels(predicted), read_labels(truth)
    if a.shape != b.shape:
        raise DataError(
            f"'{predicted}' has shape {a.shape}, but '{truth}' has {b.shape}; give labels of the same image."
        )
    return Score(stem_of(truth), iou(a, b), average_precision(_instances(a), _instances(b)))


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


def _spread(values: list[float]) -> float:
    """Standard deviation over the images (n − 1); 0 for a single image."""
    return stdev(values) if len(values) > 1 else 0.0


def _table(scores: list[Score]) -> str:
    width = max(len("mean ± sd"), *(len(s.name) for s in scores))
    ious, aps = [s.iou for s in scores], [s.ap50 for s in scores]
    rows = [f"{'image':<{width}}  {'IoU':<15}  AP@0.5"]
    rows += [f"{s.name:<{width}}  {s.iou:<15.4f}  {s.ap50:.4f}" for s in scores]
    both = [f"{mean(values):.4f} ± {_spread(values):.4f}" for values in (ious, aps)]
    return "\n".join([*rows, f"{'mean ± sd':<{width}}  {both[0]:<15}  {both[1]}"])


def _write_json(scores: list[Score], path: Path) -> None:
    from ..base.atomic_files import write_atomically

    columns = {"iou": [s.iou for s in scores], "ap50": [s.ap50 for s in scores]}
    report = {
        "n": len(scores),
        "mean": {key: mean(values) for key, values in columns.items()},
        "sd": {key: _spread(values) for key, values in columns.items()},
        "images": [asdict(s) for s in scores],
    }
    with writing(path):
        write_atomically(path, (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
