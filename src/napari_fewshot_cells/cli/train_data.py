"""``napari-fewshot-train data``: fetch the source sets, list what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ..errors import DataError
from ..progress import Progress
from ..training.fetch import fetch_sources
from ..training.sources import (
    SOURCE_NAMES,
    SourceSet,
    check_names,
    data_folder,
    find_sources,
    sources_present,
    summarise,
)
from .errors import one_line_errors


@one_line_errors()
def data(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Folder with <set>/{images,masks}/NAME.png; else the user's data folder."
        ),
    ] = None,
    names: Annotated[
        list[str] | None, typer.Option("--set", help=f"Only this set; repeatable. {', '.join(SOURCE_NAMES)}.")
    ] = None,
    fetch: Annotated[
        bool | None,
        typer.Option(
            "--fetch/--list", help="Download missing sets, or only list. Fetches unless --data is given."
        ),
    ] = None,
    keep_archives: Annotated[bool, typer.Option(help="Keep the downloaded archives.")] = False,
) -> None:
    """Fetch the five source sets from their official addresses, or list those in a folder."""
    folder = data_folder() if data is None else data
    wanted = check_names(names or SOURCE_NAMES)
    if fetch if fetch is not None else data is None:
        sources = _fetch(folder, wanted, keep_archives)
    elif names:
        sources = find_sources(folder, wanted)
    else:
        present = sources_present(folder)
        if folder.is_dir() and not present:
            raise DataError(f"'{folder}' holds none of the source sets {', '.join(SOURCE_NAMES)}.")
        sources = find_sources(folder, present)
    _show(folder, sources, wanted)


def _fetch(folder: Path, names: tuple[str, ...], keep_archives: bool) -> dict[str, SourceSet]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, object] = {}

        def report(event: Progress) -> None:
            if event.stage not in tasks:
                tasks[event.stage] = bars.add_task(event.stage)
            task = tasks[event.stage]
            bars.update(task, completed=event.done, total=event.total or None)  # type: ignore[arg-type]

        return fetch_sources(folder, names, report=report, keep_archives=keep_archives)


def _show(folder: Path, sources: dict[str, SourceSet], wanted: tuple[str, ...]) -> None:
    table = Table(title=f"Source sets in {folder}", title_justify="left")
    table.add_column("set", no_wrap=True)
    table.add_column("pairs", justify="right")
    table.add_column("image size", no_wrap=True)
    table.add_column("pixels", no_wrap=True)
    table.add_column("object ⌀ (px)", justify="right")
    table.add_column("foreground", justify="right")
    table.add_column("licence")
    for name, source in sources.items():
        found = summarise(source)
        table.add_row(
            name,
            str(len(source.pairs)),
            found.image_size,
            found.dtype,
            f"{found.median_diameter:.0f}",
            f"{found.foreground:.1%}",
            source.licence,
        )
    for name in wanted:
        if name not in sources:
            table.add_row(name, "missing", "", "", "", "", "")
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)  # a file or pipe has no width of its own
    console.print(table)
