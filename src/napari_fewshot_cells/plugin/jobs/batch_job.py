"""Batch prediction of a folder, as a job for a worker thread."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...base.errors import DataError
from ...base.progress import Progress

if TYPE_CHECKING:
    from ...models.library import ModelEntry
    from ...prediction.predict_files import BatchEvent, BatchSettings


@dataclass(frozen=True)
class FilesFound:
    """The files of the batch, in the order of prediction."""

    files: tuple[Path, ...]


def batch_job(
    entry: ModelEntry, inputs: Sequence[Path], out: Path, settings: BatchSettings
) -> Generator[FilesFound | BatchEvent, None, None]:
    """Find the images, write their results to `out`, and report on each in ``report.csv`` there.

    Raises
    ------
    FewShotError
        There are no images, `out` cannot be written, the model is damaged, or ``report.csv`` is not ours.
    """
    yield Progress("looking for images", 0, 1, 0.0)
    from ...base.atomic_files import make_writable
    from ...models.model_file import read_model
    from ...prediction.predict_files import REPORT, find_inputs, predict_files, read_report

    files = find_inputs(inputs)
    if any(file.parent.resolve() == out.resolve() for file in files):
        # the next batch would take the results for images
        raise DataError(f"'{out}' holds the images; choose another folder for the results.")
    model = read_model(entry.path)
    make_writable(out)
    read_report(out / REPORT)
    yield FilesFound(tuple(files))
    yield from predict_files(model, files, out, settings, report=out / REPORT)
