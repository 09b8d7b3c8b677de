"""The batch of the panel as a job for a worker thread."""

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
    """All files of the batch, in their order."""

    files: tuple[Path, ...]


def batch_job(
    entry: ModelEntry, inputs: Sequence[Path], out: Path, settings: BatchSettings
) -> Generator[FilesFound | BatchEvent, None, None]:
    """Find the images, segment them into `out`, and tell it there in ``report.csv``.

    Raises
    ------
    FewShotError
        No images, a folder that cannot be written, a damaged model, or a foreign report.
    """
    yield Progress("looking for images", 0, 1, 0.0)
    from ...base.atomic_files import make_writable
    from ...models.model_file import read_model
    from ...prediction.predict_files import REPORT, find_inputs, predict_files, read_report

    files = find_inputs(inputs)
    if any(file.parent.resolve() == out.resolve() for file in files):
        # results there would be images of the next batch
        raise DataError(f"'{out}' holds the images; choose another folder for the results.")
    model = read_model(entry.path)
    make_writable(out)
    read_report(out / REPORT)
    yield FilesFound(tuple(files))
    yield from predict_files(model, files, out, settings, report=out / REPORT)
