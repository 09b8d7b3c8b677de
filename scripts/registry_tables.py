"""Write the tables of docs/extending.md from the registries, between the page's marks.

python scripts/registry_tables.py
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(PAGE)


def with_tables(page: str) -> str:
    """The page with today's tables."""
    for name, table in tables().items():
        block = f"<!-- {name} -->\n{table}\n<!-- end -->"
        page = re.sub(rf"<!-- {name} -->.*?<!-- end -->", lambda _, b=block: b, page, flags=re.DOTALL)
    return page


def tables() -> dict[str, str]:
    """A Markdown table of each registry, by the name of its mark."""
    from napari_fewshot_cells.data.readers import READERS
    from napari_fewshot_cells.datasets.five_sets import PUBLISHED_SETS
    from napari_fewshot_cells.models.export import FORMATS
    from napari_fewshot_cells.models.registry import NETWORKS
    from napari_fewshot_cells.plugin.annotate.tool_registry import registered_tools
    from napari_fewshot_cells.training.loss_terms import LOSS_TERMS

    return {
        "networks": _table(
            ("name", "title", "good for", "bundled"),
            ((f"`{name}`", n.title, n.good_for, _yes(n.bundled)) for name, n in NETWORKS.items()),
        ),
        "losses": _table(
            ("symbol", "meaning", "weight", "in the complete loss", "variants"),
            (
                (t.symbol, t.meaning, f"`--{t.weight_name}`", f"{t.weight:g}", ", ".join(t.variants or ()))
                for t in LOSS_TERMS.values()
            ),
        ),
        "tools": _table(
            ("tool", "key", "tip"), ((t.name, t.key, t.tip.split("\n")[0]) for t in registered_tools())
        ),
        "formats": _table(("suffix", "format"), ((f"`{s}`", f.title) for s, f in FORMATS.items())),
        "readers": _table(
            ("format", "suffixes", "install first"),
            (
                (
                    name,
                    " ".join(f"`{suffix}`" for suffix in r.suffixes),
                    r.install and f"`pip install {r.install}`",
                )
                for name, r in READERS.items()
            ),
        ),
        "sets": _table(
            ("set", "what", "licence", "masks separate touching objects"),
            (
                (name, s.description, s.licence, _yes(s.separates_touching))
                for name, s in PUBLISHED_SETS.items()
            ),
        ),
    }


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    main()
