"""``napari-fewshot-train report``: tables, figures and a page from stored results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...base.atomic_files import make_writable, writing
from ..console import one_line_errors


@one_line_errors()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...",
            help="Folders of 'protocol' or of an earlier report, or results.csv files. Schedules stay apart.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for index.html, tables and figures.")],
    overlays: Annotated[
        bool,
        typer.Option(
            "--overlays/--no-overlays",
            help="Show segmentations on test images. They are pixels of the data sets: not to be published.",
        ),
    ] = True,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the tables to this Markdown file too.")
    ] = None,
) -> None:
    """Tables as CSV, the paper's Figures 3 and 4, learning curves, overlays, and a page that shows them all.

    The page needs no network and no other file. Cells without a result are shown as missing.
    """
    from ...experiment.report import page
    from ...experiment.report.results import read_results

    found = read_results(results)
    make_writable(out)
    with writing(out):
        made = page.report(found, out, overlays=overlays)
    if markdown is not None:
        with writing(markdown):
            markdown.write_text(page.markdown(found), encoding="utf-8")
    typer.echo(made)
