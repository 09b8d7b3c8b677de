"""Draw the rooms of the package and who imports whom: docs/images/rooms.svg.

python scripts/draw_rooms.py [--count]

Rows are the layers of import-linter's contracts in pyproject.toml; arrows are the imports as they are.
An arrow that follows from two others is left out. `--count` prints the numbers of docs/architecture.md.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGE = "napari_fewshot_cells"
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
BOX, GAP, ROW, MARGIN = (118, 40), 26, 84, 30  # px

Edges = set[tuple[str, str]]


def main() -> None:
    """Write the picture, or print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", action="store_true")
    if parser.parse_args().count:
        print(count())
    else:
        PICTURE.write_text(draw(), encoding="utf-8")
        print(PICTURE)


def layers(container: str) -> list[list[str]]:
    """Rooms of a container, row by row, as the contract names them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (rows,) = (c["layers"] for c in contracts if c.get("containers") == [container])
    return [[room.strip() for room in row.split("|")] for row in rows]


def imports_between(graph: grimp.ImportGraph, container: str, rooms: list[str]) -> Edges:
    """Which room imports which."""
    names = {room: f"{container}.{room}" for room in rooms}
    return {
        (one, other)
        for one in rooms
        for other in rooms
        if one != other
        and graph.direct_import_exists(importer=names[one], imported=names[other], as_packages=True)
    }


def without_implied(edges: Edges) -> Edges:
    """Edges that do not follow from two or more others; there are no circles."""

    def reaches(start: str, goal: str) -> bool:
        return any(b == goal or reaches(b, goal) for a, b in edges if a == start)

    return {(a, b) for a, b in edges if not any(reaches(c, b) for s, c in edges if s == a and c != b)}


def draw() -> str:
    """The picture: the package on the left, the inside of `plugin` on the right."""
    graph = grimp.build_graph(PACKAGE)
    parts, left, tallest = [], MARGIN, 0
    for container, title in ((PACKAGE, "the package"), (f"{PACKAGE}.plugin", "inside plugin")):
        rows = layers(container)
        rooms = [room for row in rows for room in row]
        width = max(len(row) for row in rows) * (BOX[0] + GAP)
        at = {}
        parts.append(f'<text class="title" x="{left + width / 2}" y="{MARGIN}">{title}</text>')
        for number, row in enumerate(rows):
            free = width - len(row) * BOX[0] - (len(row) - 1) * GAP
            for place, room in enumerate(row):
                x = left + free / 2 + place * (BOX[0] + GAP)
                at[room] = (x, MARGIN + 20 + number * ROW)
        for one, other in sorted(without_implied(imports_between(graph, container, rooms))):
            parts.append(_arrow(one, other, at, left + width / 2 - GAP / 2))
        parts += [_box(graph, container, room, at[room]) for room in rooms]
        left += width + 2 * MARGIN
        tallest = max(tallest, len(rows))
    height = MARGIN + 20 + tallest * ROW
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left} {height}" '
        f'width="{left}" height="{height}">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 8 4 0 8Z" fill="#5a6b7b"/></marker></defs>\n'
        "<style>text{font:13px sans-serif;text-anchor:middle;fill:#1d2733}.title{font-weight:bold}"
        ".files{font-size:10px;fill:#5a6b7b}rect{fill:#eef3f8;stroke:#5a6b7b}"
        "path.import{fill:none;stroke:#5a6b7b}</style>\n"
        f'<rect width="{left}" height="{height}" style="fill:#fff;stroke:none"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _box(graph: grimp.ImportGraph, container: str, room: str, at: tuple[float, float]) -> str:
    (x, y), (width, height) = at, BOX
    files = n_files(graph, f"{container}.{room}")
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>'
        f'<text x="{x + width / 2}" y="{y + 18}">{room}</text>'
        f'<text class="files" x="{x + width / 2}" y="{y + 32}">{files} files</text>'
    )


def _arrow(one: str, other: str, at: dict[str, tuple[float, float]], middle: float) -> str:
    (x, y), (to_x, to_y) = at[one], at[other]
    begin, end = (x + BOX[0] / 2, y + BOX[1]), (to_x + BOX[0] / 2, to_y)
    bend = (begin[1] + end[1]) / 2
    outward = (1 if begin[0] >= middle else -1) * BOX[0] * 0.9
    aside = outward if to_y - y > ROW else 0  # around the boxes of the rows between
    return (
        f'<path class="import" data-from="{one}" data-to="{other}" marker-end="url(#tip)" '
        f'd="M{begin[0]} {begin[1]} C{begin[0] + aside} {bend} {end[0] + aside} {bend} {end[0]} {end[1]}"/>'
    )


def n_files(graph: grimp.ImportGraph, room: str) -> int:
    """Python files in a room and its sub-rooms, `__init__.py` left out."""
    return sum(1 for module in graph.find_descendants(room) if not graph.find_children(module))


def count() -> str:
    """Files a room, and imports between files and between rooms."""
    graph = grimp.build_graph(PACKAGE)
    lines = []
    rooms = sorted({m.rpartition(".")[0] for m in graph.modules if not graph.find_children(m)} - {""})
    for room in rooms:
        files = [m for m in graph.find_children(room) if not graph.find_children(m)]
        lines.append(f"{room}: {len(files)} files")
    between = {
        (a.rpartition(".")[0], b.rpartition(".")[0])
        for a in graph.modules
        for b in graph.find_modules_directly_imported_by(a)
        if not graph.find_children(a)
    }
    apart = {(a, b) for a, b in between if a != b}
    both_ways = sum((b, a) in apart for a, b in apart) // 2
    lines.append(
        f"{len(rooms)} rooms, {graph.count_imports()} imports between files, {len(apart)} between rooms, "
        f"{both_ways} pairs of rooms that import each other"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
