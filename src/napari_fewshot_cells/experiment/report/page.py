"""The report of stored results: tables as CSV and Markdown, figures as SVG, and a page with all of them."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image

from ...base.errors import DataError
from ...datasets.five_sets import SOURCE_NAMES
from ...models.registry import title_of
from ...prediction.metrics import iou
from ..report import tables
from .comparisons import rows_with, summarise
from .figures import COLOURS, DARK_COLOURS, bars_figure, curves_figure, for_page
from .overlays import OVERLAY_COLOURS, beside, overlay, read_overlay, shrink
from .paper_claims import Claim, check_orderings
from .results import (
    ARCHITECTURES,
    CURVES_FILE,
    K_SHOTS,
    METHODS,
    RESULTS_FILE,
    Curve,
    FineTuning,
    Results,
    Start,
    in_order,
    write_curves,
    write_rows,
)

PAGE_FILE = "index.html"
OVERLAY_FOLDER = "overlay-images"
FIGURE_NUMBERS = {"fcrn": 3, "unet": 4}

_THUMBNAIL = 360  # px, longest side of an image in the page
_SUMMARY_COLUMNS = (
    "schedule", "arch", "target", "method", "k_shot", "n", "iou_mean", "iou_sd", "plain_iou_mean",
    "plain_iou_sd", "seconds_mean", "seed", "commit", "device", "machine",
)  # fmt: skip


@dataclass(frozen=True)
class NetworkPart:
    """One network's figures and table."""

    arch: str
    label: str
    number: int | None
    bars: str
    table: tables.Table
    curves: str | None


@dataclass(frozen=True)
class OverlayRow:
    """One target's input and, for each method, label, overlay as a data address or None, and IoU."""

    label: str
    k_shot: int
    picture: str
    overlays: tuple[tuple[str, str | None, str], ...]


@dataclass(frozen=True)
class SchedulePart:
    """Everything of one schedule; schedules are never merged."""

    name: str
    rows: tuple[FineTuning, ...]
    claims: tuple[Claim, ...]
    claims_table: tables.Table
    plain_table: tables.Table | None
    networks: tuple[NetworkPart, ...]
    comparisons: tables.Table
    trainings: tables.Table
    overlays: tuple[OverlayRow, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many claims hold, do not hold, or are not measured."""
        return Counter(claim.verdict.split(",")[0] for claim in self.claims)

    @property
    def n_cells(self) -> int:
        """Measured cells of the paper's matrix."""
        cells = {r.key for r in self.rows if r.target in SOURCE_NAMES and r.k_shot in K_SHOTS}
        return len(cells)


def report(results: Results, out: Path, *, overlays: bool = True) -> Path:
    """Write every table and figure of these results into a folder.

    Parameters
    ----------
    results : Results
    out : Path
        Gets `index.html`, which needs no other file; `results.csv`, `summary.csv`, `orderings.csv`,
        `curves.csv`; the figures as SVG; and, if overlays are wanted, `overlay-images/`.
    overlays : bool
        Overlays show pixels of the data sets, whose terms may forbid publishing them.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError
        If no overlays are wanted, but the folder holds those of an earlier report.
    """
    if not overlays and (out / OVERLAY_FOLDER).exists():
        raise DataError(f"'{out / OVERLAY_FOLDER}' holds overlays of an earlier report; remove it first.")
    out.mkdir(parents=True, exist_ok=True)
    parts = [_schedule_part(results, name, out, overlays) for name in results.schedules]
    write_rows(results.rows, out / RESULTS_FILE)
    write_curves(results.curves, out / CURVES_FILE)
    _write_summary(results.rows, out / "summary.csv")
    _write_orderings(parts, out / "orderings.csv")
    page = _render("report.html.j2", results, parts)
    (out / PAGE_FILE).write_text(page, encoding="utf-8")
    return out / PAGE_FILE


def markdown(results: Results) -> str:
    """The tables as Markdown, without pixels of any data set."""
    text = _render("report.md.j2", results, [_schedule_part(results, name) for name in results.schedules])
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _schedule_part(
    results: Results, schedule: str, out: Path | None = None, overlays: bool = False
) -> SchedulePart:
    """Gather one schedule; with `out`, also draw its figures into that folder."""
    rows = rows_with(results.rows, schedule=schedule)
    curves = {start: curve for start, curve in results.curves.items() if start[0] == schedule}
    is_calibrated = any(row.iou != row.plain_iou for row in rows)

    claims = check_orderings(rows, curves)
    plain = check_orderings(rows, curves, "plain_iou") if is_calibrated else None
    return SchedulePart(
        name=schedule,
        rows=tuple(rows),
        claims=tuple(claims),
        claims_table=tables.claims_table(claims, rows),
        plain_table=None if plain is None else tables.claims_table(plain, rows),
        networks=tuple(
            _network_part(rows_with(rows, arch=arch), arch, curves, out)
            for arch in in_order((row.arch for row in rows), ARCHITECTURES)
        ),
        comparisons=tables.comparison_table(rows),
        trainings=tables.trainings_table(rows),
        overlays=tuple(_overlay_rows(rows, results.overlays, out)) if out and overlays else (),
    )


def _network_part(
    rows: Sequence[FineTuning], arch: str, curves: Mapping[Start, Curve], out: Path | None
) -> NetworkPart:
    targets, number = tables.targets_of(rows), FIGURE_NUMBERS.get(arch)
    bars, learning = "", None
    if out is not None:
        name = f"figure-{number}-{arch}" if number else f"bars-{arch}"
        bars = bars_figure(rows, targets, tables.k_shots_of(rows))
        (out / f"{name}-{rows[0].schedule}.svg").write_text(bars, encoding="utf-8")
        if any(of == arch for _, of, *_ in curves):
            learning = curves_figure(curves, arch, targets)
            (out / f"curves-{arch}-{rows[0].schedule}.svg").write_text(learning, encoding="utf-8")
    return NetworkPart(arch, title_of(arch), number, bars, tables.summary_table(rows), learning)


def _overlay_rows(
    rows: Sequence[FineTuning], files: Mapping[FineTuning, Path], out: Path
) -> list[OverlayRow]:
    """One line for each network and target at its largest K, for the page; all overlays go to the folder."""
    (out / OVERLAY_FOLDER).mkdir(exist_ok=True)
    lines: dict[tuple[str, str], dict[int, dict[str, FineTuning]]] = {}
    for row in rows:
        if row in files:
            beside(*read_overlay(files[row])).save(
                out / OVERLAY_FOLDER / f"{row.key}-{row.schedule}-seed{row.seed}.png", compress_level=1
            )
            lines.setdefault((row.arch, row.target), {}).setdefault(row.k_shot, {})[row.method] = row
    found = []
    for (arch, target), by_k in lines.items():
        k_shot, by_method = max(by_k.items())
        stored = {method: read_overlay(files[row]) for method, row in by_method.items()}
        cells: list[tuple[str, str | None, str]] = [(label, None, "") for label in METHODS.values()]
        for i, method in enumerate(METHODS):
            if method in stored:
                _, truth, predicted = stored[method]
                colours = overlay(shrink(truth, _THUMBNAIL), shrink(predicted, _THUMBNAIL))
                cells[i] = METHODS[method], _data_uri(colours), f"IoU {iou(predicted, truth):.3f}"
        picture = _data_uri(shrink(next(iter(stored.values()))[0], _THUMBNAIL))
        found.append(OverlayRow(f"{title_of(arch)}, {target}", k_shot, picture, tuple(cells)))
    return found


def _data_uri(pixels: NDArray[Any]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _render(template: str, results: Results, parts: Sequence[SchedulePart]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("napari_fewshot_cells.experiment.report", "templates"),
        autoescape=template.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["subscripts"] = _with_subscripts
    environment.filters["for_page"] = lambda svg: Markup(
        for_page(svg)
    )  # our own drawing, not the user's text
    return environment.get_template(template).render(
        parts=parts,
        n_matrix=tables.MATRIX_CELLS,
        schedules_table=tables.schedules_table(results.rows) if len(parts) > 1 else None,
        light=_css_names(COLOURS),
        dark=_css_names(DARK_COLOURS),
        overlay_colours=OVERLAY_COLOURS,
        n_rows=len(results.rows),
    )


def _with_subscripts(text: str) -> Markup:
    return Markup(re.sub(r"L_(\w+)", r"L<sub>\1</sub>", str(escape(text))))


def _css_names(colours: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("+", "-"): value for name, value in colours.items()}


def _write_summary(rows: Sequence[FineTuning], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_SUMMARY_COLUMNS)
        for bar in summarise(rows):
            numbers = [bar.iou.mean, bar.iou.sd, bar.plain_iou.mean, bar.plain_iou.sd]
            seconds = np.mean([row.seconds for row in bar.rows])
            origin = [
                "; ".join(sorted({str(getattr(row, name)) for row in bar.rows}))
                for name in ("seed", "commit", "device", "machine")
            ]
            shown = ["" if np.isnan(number) else f"{number:.4f}" for number in numbers]
            writer.writerow([bar.schedule, bar.arch, bar.target, bar.method, bar.k_shot, bar.iou.n, *shown,
                             f"{seconds:.1f}", *origin])  # fmt: skip


def _write_orderings(parts: Sequence[SchedulePart], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["schedule", "threshold", *parts[0].claims_table.header, "made from"])
        for part in parts:
            by_threshold = {"0.5": part.claims_table}
            if part.plain_table is not None:
                by_threshold = {"calibrated": part.claims_table, "0.5": part.plain_table}
            for threshold, table in by_threshold.items():
                writer.writerows([part.name, threshold, *line, table.foot] for line in table.rows)
