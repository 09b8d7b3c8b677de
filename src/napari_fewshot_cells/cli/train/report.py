"""``napari-fewshot-train report``: makes tables, figures and a page from stored results."""

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
            help="Folders of 'protocol' or of a report, or results.csv files. Schedules are not mixed.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for index.html, tables and figures.")],
    overlays: Annotated[
        bool,
        typer.Option(
            "--overlays/--no-overlays",
            help="Show segmentations on test images. Do not publish these: they contain pixels of the data.",
        ),
    ] = True,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the tables to this Markdown file.")
    ] = None,
) -> None:
    """Write CSV tables, the paper's Figures 3 and 4, learning curves, overlays, and a page of them all.

    The page needs no network and no other file. It marks cells without a result as missing.
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
