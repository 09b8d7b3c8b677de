"""Makes docs/results/cells.md from docs/results/cells.csv.

python benchmarks/cells_report.py [--results FILE FILE]

Several files, of processes that shared the work, are read as one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from cells import ANNOTATIONS, COLUMNS, CONTACT, DOMAINS, KEY, METHODS, PAIRS, RIGHTLY, SHAPE
from fewshot import rows_so_far
from fewshot_bars import Bar
from fewshot_report import bars_table
from report import RESULTS, Row, origin, spread, table

PACKED = ("bacteria_phase", "tissue_membrane", "plant_ovule")
"""Domains in which nearly every cell touches another."""

WHOLE, SCRIBBLES = "whole", "scribbles"
SMALLEST_GAP = 0.02  # AP; the share of a smaller gap would be noise
MISSING = "–"

LEAST_GAIN, LEAST_SHARE, MOST_LOSS, MOST_IOU_LOSS, MOST_TIME = 0.25, 0.5, 0.01, 0.003, 1.1
"""Bars: mean gain in AP, share of the gap closed, loss of AP on a domain, loss of foreground IoU on a domain,
factor of the seconds."""
LEAST_PACKED, LEAST_RECALL = 0.75, 0.9
"""Bars: mean AP of the packed domains with one shot, recall of touching nuclei of B39 with five."""


@dataclass(frozen=True)
class Part:
    """The rows of one table: one K, one kind of annotation.

    Attributes
    ----------
    k_shot : str
    annotation : str
    rows : tuple of dict
    """

    k_shot: str
    annotation: str
    rows: tuple[Row, ...]

    @property
    def domains(self) -> list[str]:
        """Those with results, in the order of `DOMAINS`."""
        there = {row["domain"] for row in self.rows}
        return [domain for domain in DOMAINS if domain in there]

    def values(self, domain: str, method: str, column: str) -> list[float]:
        """Of each selection and seed that has one."""
        return [
            float(row[column])
            for row in self.rows
            if (row["domain"], row["method"]) == (domain, method) and row[column]
        ]

    def mean(self, method: str, column: str, domains: Sequence[str] | None = None) -> float | None:
        """Mean over domains, by default all: each has the same weight. None if no domain has a value."""
        chosen = self.domains if domains is None else domains
        means = [mean(values) for domain in chosen if (values := self.values(domain, method, column))]
        return mean(means) if means else None

    def gain(self, column: str, domains: Sequence[str] | None = None) -> float:
        """Contact minus shape."""
        after, before = (self.mean(method, column, domains) for method in (CONTACT, SHAPE))
        assert after is not None, "a table has rows"
        assert before is not None, "of both methods"
        return after - before

    def share(self, domains: Sequence[str] | None = None) -> float | None:
        """Share of the gap in AP that is closed; None if the gap is too small."""
        before, after, best = (self.mean(m, "ap50", domains) for m in (SHAPE, CONTACT, RIGHTLY))
        if before is None or after is None or best is None or best - before < SMALLEST_GAP:
            return None
        return (after - before) / (best - before)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the tables into the text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, nargs="+", default=[RESULTS / "cells.csv"])
    parser.add_argument("--out", type=Path, default=RESULTS / "cells.md")
    options = parser.parse_args(arguments)
    rows = merged(options.results)
    found = parts(rows)
    text = (RESULTS / "cells.template.md").read_text(encoding="utf-8")
    for name, content in {
        "findings": findings(found),
        "bars": bars_table(bars(found)),
        "tables": "\n\n".join(part_table(part) for part in found),
        "runs": runs(found),
        "origin": origin(rows),
    }.items():
        text = text.replace(f"<!-- {name} -->", content)
    options.out.write_text(text, encoding="utf-8")
    print(options.out)


def merged(files: Sequence[Path]) -> list[Row]:
    """The rows of all files. Of rows with the same key the last counts."""
    rows = [row for file in files for row in rows_so_far(file, COLUMNS)]
    return list({tuple(row[column] for column in KEY): row for row in rows}.values())


def parts(rows: Sequence[Row]) -> list[Part]:
    """The tables, by K and annotation."""
    found = [
        Part(
            k, annotation, tuple(row for row in rows if (row["k_shot"], row["annotation"]) == (k, annotation))
        )
        for k in sorted({row["k_shot"] for row in rows}, key=int)
        for annotation in ANNOTATIONS
    ]
    return [part for part in found if part.rows]


def findings(found: Sequence[Part]) -> str:
    """What was found, in three sentences made from the numbers."""
    sentences = []
    whole = [part for part in found if part.annotation == WHOLE]
    if whole:
        shares = ", ".join(f"{_percent(part.share())} (K = {part.k_shot})" for part in whole)
        sentences.append(
            f"On completely annotated images AP at IoU 0.5 goes from {_change(whole, 'ap50', domains=True)}; "
            f"if the same foreground were cut rightly it would be {_each(whole, RIGHTLY, 'ap50')}, so that "
            f"contacts close {shares} of the gap."
        )
        gains = {d: whole[0].gain("ap50", [d]) for d in whole[0].domains}
        most, least = max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)
        rises = sum(gain > 0 for gain in gains.values())
        sentences.append(
            f"The share of touching cells that is found goes from {_change(whole, 'recall_touching')}, the "
            f"IoU of the foreground from {_change(whole, 'iou')}; with K = {whole[0].k_shot} AP rises on "
            f"{rises} of {len(gains)} domains, most on {most} ({gains[most]:+.3f}), least on {least} "
            f"({gains[least]:+.3f})."
        )
    strokes = [_on_same_domains(found, part) for part in found if part.annotation == PAIRS]
    if strokes and all(part is not None for both in strokes for part in both):
        alone, with_pairs = zip(*strokes, strict=True)
        sentences.append(
            f"With strokes alone AP goes from {_change(alone, 'ap50', domains=True)}; with two painted pairs "
            f"of touching cells besides, from {_change(with_pairs, 'ap50')}."
        )
    return " ".join(sentences)


def _on_same_domains(found: Sequence[Part], pairs: Part) -> tuple[Part | None, Part]:
    """Strokes alone on the domains of `pairs`, and `pairs`."""
    for part in found:
        if (part.k_shot, part.annotation) == (pairs.k_shot, SCRIBBLES):
            rows = tuple(row for row in part.rows if row["domain"] in pairs.domains)
            return Part(part.k_shot, SCRIBBLES, rows) if rows else None, pairs
    return None, pairs


def _change(parts: Sequence[Part], column: str, *, domains: bool = False) -> str:
    of = [f", mean over {len(part.domains)} domains" if domains else "" for part in parts]
    return " and from ".join(
        f"{_number(part.mean(SHAPE, column))} to {_number(part.mean(CONTACT, column))} (K = {part.k_shot}{n})"
        for part, n in zip(parts, of, strict=True)
    )


def _each(parts: Sequence[Part], method: str, column: str) -> str:
    return " and ".join(_number(part.mean(method, column)) for part in parts)


def part_table(part: Part) -> str:
    """One table: the domains, their mean, the packed domains and their mean, the mean of all."""
    apart = [[d for d in part.domains if (d in PACKED) == packed] for packed in (False, True)]
    lines = []
    for domains, name in zip(apart, ("mean, loosely packed", "mean, packed"), strict=True):
        lines += [_domain_line(part, domain) for domain in domains]
        if domains:
            lines.append(_mean_line(part, f"**{name}**", domains))
    lines.append(_mean_line(part, "**mean of all**", part.domains))
    header = [
        "domain", "today (shape)", "now (contact)", "if cut rightly", "share of the gap closed",
        "foreground IoU before", "after", "touching cells found before", "after",
    ]  # fmt: skip
    return f"### K = {part.k_shot}, {part.annotation}\n{table(header, lines)}"


COLUMNS_OF_TABLE = (*((method, "ap50") for method in METHODS), *(
    (method, column) for column in ("iou", "recall_touching") for method in (SHAPE, CONTACT)
))  # fmt: skip


def _domain_line(part: Part, domain: str) -> list[str]:
    cells = [
        spread(values) if (values := part.values(domain, *what)) else MISSING for what in COLUMNS_OF_TABLE
    ]
    return [domain, *cells[:3], _percent(part.share([domain])), *cells[3:]]


def _mean_line(part: Part, name: str, domains: Sequence[str]) -> list[str]:
    cells = [_number(part.mean(*what, domains)) for what in COLUMNS_OF_TABLE]
    return [name, *cells[:3], _percent(part.share(domains)), *cells[3:]]


def bars(found: Sequence[Part]) -> list[Bar]:
    """All demands, on completely annotated images."""
    return [bar for part in found if part.annotation == WHOLE for bar in _bars_of(part)]


def _bars_of(part: Part) -> list[Bar]:
    k = f"K = {part.k_shot}"
    packed = [domain for domain in part.domains if domain in PACKED]
    found = [
        _share_bar(f"{k}, {name}: at least {LEAST_SHARE:.0%} of the gap in AP closed", part.share(domains))
        for name, domains in (("all domains", part.domains), ("packed domains", packed))
    ]
    gains = {domain: round(part.gain("ap50", [domain]), 6) for domain in part.domains}
    lowest = min(gains, key=gains.__getitem__)
    found.append(
        Bar(
            f"{k}: AP falls on no domain by more than {MOST_LOSS}",
            f"lowest {lowest} {gains[lowest]:+.3f}",
            gains[lowest] >= -MOST_LOSS,
        )
    )
    mean_gain = part.gain("ap50")
    found.append(
        Bar(f"{k}: mean gain in AP at least {LEAST_GAIN}", f"{mean_gain:+.3f}", mean_gain >= LEAST_GAIN)
    )
    changes = {domain: round(part.gain("iou", [domain]), 6) for domain in part.domains}
    worst = min(changes, key=changes.__getitem__)
    found.append(
        Bar(
            f"{k}: foreground IoU falls on no domain by more than {MOST_IOU_LOSS}",
            f"lowest {worst} {changes[worst]:+.4f}",
            changes[worst] >= -MOST_IOU_LOSS,
        )
    )
    if part.k_shot == "1" and packed:
        ap = mean(mean(part.values(domain, CONTACT, "ap50")) for domain in packed)
        found.append(
            Bar(f"{k}: mean AP of packed domains at least {LEAST_PACKED}", f"{ap:.3f}", ap >= LEAST_PACKED)
        )
    if part.k_shot == "5" and "B39" in part.domains:
        recalls = part.values("B39", CONTACT, "recall_touching")
        demand = f"{k}: recall of touching nuclei, B39, at least {LEAST_RECALL}"
        met = mean(recalls) >= LEAST_RECALL if recalls else None
        found.append(Bar(demand, f"{mean(recalls):.3f}" if recalls else "no results", met))
    factor = _seconds(part, CONTACT) / _seconds(part, SHAPE)
    found.append(
        Bar(f"{k}: fine-tuning takes at most {MOST_TIME} times as long", f"{factor:.2f}", factor <= MOST_TIME)
    )
    return found


def _share_bar(demand: str, share: float | None) -> Bar:
    if share is None:
        return Bar(demand, "no results, or hardly any gap", None)
    return Bar(demand, _percent(share), share >= LEAST_SHARE)


def runs(found: Sequence[Part]) -> str:
    """How many fine-tunings there were, how often they chose contacts, and how long they took."""
    lines = []
    for part in found:
        of_contact = [row for row in part.rows if row["method"] == CONTACT]
        chosen = sum(row["uses_contacts"] == "1" for row in of_contact)
        lines.append(
            [part.k_shot, part.annotation, str(len(of_contact)), str(chosen),
             f"{_seconds(part, SHAPE):.1f}", f"{_seconds(part, CONTACT):.1f}"]
        )  # fmt: skip
    header = [
        "K", "annotation", "fine-tunings each", "of them cut by contacts", "median s, shape", "contact",
    ]  # fmt: skip
    return table(header, lines)


def _seconds(part: Part, method: str) -> float:
    return median(float(row["fit_seconds"]) for row in part.rows if row["method"] == method)


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{share:.0%}"


if __name__ == "__main__":
    main()
