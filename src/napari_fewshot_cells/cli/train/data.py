"""``napari-fewshot-train data``: downloads the source sets, lists them, and checks a person's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...base.errors import DataError
from ..choices import Target
from ..console import one_line_errors

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ...base.progress import Progress
    from ...datasets.five_sets import SourceSet, SourceSummary

_NAMES = ", ".join(name for name in Target if name is not Target.none)


@one_line_errors()
def data(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Folder with <set>/{images,masks}/NAME.png (default: the user's data folder)."
        ),
    ] = None,
    names: Annotated[
        list[str] | None, typer.Option("--set", help=f"Only this set; repeatable. {_NAMES}.")
    ] = None,
    fetch: Annotated[
        bool | None,
        typer.Option(
            "--fetch/--list",
            help="Download missing sets, or only list (default: download, unless --data is given).",
        ),
    ] = None,
    keep_archives: Annotated[bool, typer.Option(help="Keep the downloaded archives.")] = False,
    own: Annotated[
        list[str] | None,
        typer.Option(
            "--sources",
            help="Check a source of your own: DIR or NAME=DIR, with folders images/ and masks/; repeatable. "
            "Without other options, nothing else is listed or downloaded.",
        ),
    ] = None,
) -> None:
    """Download the five source sets from their official addresses, or list those in a folder.

    With --sources, check sources of your own and list their faults.
    """
    from ...datasets.five_sets import SOURCE_NAMES, check_names, data_folder, find_sources, sources_present

    if own and data is None and not names and not fetch:
        check_own(own)
        return
    folder = data_folder() if data is None else data
    wanted = check_names(names or SOURCE_NAMES)
    if fetch if fetch is not None else data is None:
        sources = _fetch(folder, wanted, keep_archives)
    elif names:
        sources = find_sources(folder, wanted)
    else:
        present = sources_present(folder)
        if folder.is_dir() and not present:
            raise DataError(
                f"'{folder}' holds none of the source sets {', '.join(SOURCE_NAMES)}; "
                "add --fetch to download them."
            )
        sources = find_sources(folder, present)
    _show(folder, sources, wanted)
    if own:
        check_own(own)


def check_own(own: list[str]) -> None:
    """List sources of a person's own and all their faults.

    Raises
    ------
    DataError
        A source cannot be used.
    """
    from ...datasets.own_sets import check_source

    checked = [check_source(text) for text in own]
    console = _console()
    table = _table("Own sources")
    for one in checked:
        _add_row(table, one.source, one.summary)
    console.print(table)
    for one in checked:
        for problem in one.problems:
            mark = "error" if problem.forbids else "note"
            console.print(f"{one.source.name}: {mark}: {problem.text}", markup=False, soft_wrap=True)
    unusable = [one.source.name for one in checked if not one.is_usable]
    if unusable:
        raise DataError(f"Correct the errors listed above, then check again: {', '.join(unusable)}.")


def _fetch(folder: Path, names: tuple[str, ...], keep_archives: bool) -> dict[str, SourceSet]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    from ...datasets.download import fetch_sources

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
    from ...datasets.five_sets import summarise

    table = _table(f"Source sets in {folder}")
    for source in sources.values():
        _add_row(table, source, summarise(source))
    for name in wanted:
        if name not in sources:
            table.add_row(name, "missing", "", "", "", "", "")
    _console().print(table)


def _table(title: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("set", no_wrap=True)
    table.add_column("pairs", justify="right")
    table.add_column("image size", no_wrap=True)
    table.add_column("pixels", no_wrap=True)
    table.add_column("object ⌀ (px)", justify="right")
    table.add_column("foreground", justify="right")
    table.add_column("licence")
    return table


def _add_row(table: Table, source: SourceSet, found: SourceSummary | None) -> None:
    measured = ("", "", "", "")
    if found is not None:
        measured = (found.image_size, found.dtype, f"{found.median_diameter:.0f}", f"{found.foreground:.1%}")
    table.add_row(source.name, str(len(source.pairs)), *measured, source.licence)


def _console() -> Console:
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=140)  # a file or pipe has no width
