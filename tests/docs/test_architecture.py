"""The picture of the rooms is that of the imports, and all its arrows point downward."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "rooms.svg"


def test_the_picture_follows_the_imports() -> None:
    code = "import sys; sys.path.insert(0, 'scripts'); import draw_rooms; print(draw_rooms.draw(), end='')"
    drawn = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert drawn.stdout == PICTURE.read_text(encoding="utf-8"), "run python scripts/draw_rooms.py"


def test_every_arrow_points_downward() -> None:
    arrows = re.findall(r'd="M[\d.]+ ([\d.]+) C.*? ([\d.]+)"/>', PICTURE.read_text(encoding="utf-8"))
    assert len(arrows) > 15
    assert all(float(begin) < float(end) for begin, end in arrows)


def test_the_page_names_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "napari_fewshot_cells"
    rooms = {folder.parent.name for folder in package.glob("*/**/__init__.py")}
    assert rooms <= set(re.findall(r"^ +(\w+)/", page, re.MULTILINE))
