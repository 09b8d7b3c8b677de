"""Every example of the page on extending runs, each in an interpreter of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
EXAMPLES = [
    pytest.param(code, id=section.split("\n", 1)[0].lower().replace(" ", "-"))
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL)
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_example_runs(code: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=280
    )
    assert ran.returncode == 0, ran.stderr


def test_the_tables_are_those_of_the_registries() -> None:
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import registry_tables as r; "
        "page = r.PAGE.read_text('utf-8'); assert r.with_tables(page) == page"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PAGE.parents[1], check=True)
