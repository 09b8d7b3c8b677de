"""The simulation of what to annotate next, on small simulated cells: both arms, going on, the report."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import annotate_next
from annotate_next import RANDOM, SUGGESTED, Simulation, find_start, from_text, parse, to_text
from annotate_next_report import main as report
from annotate_next_report import verdict
from fewshot_targets import load_target
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.model_file import write_model

SMALL = [
    "--targets",
    "B39",
    "--seeds",
    "1",
    "--k-regions",
    "1",
    "2",
    "--pool",
    "3",
    "--n-test",
    "2",
    "--steps",
    "2",
]


@pytest.fixture(scope="module")
def starts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("starts")
    write_model(load_model("fcrn"), folder / "fcrn-without-B39" / "model.safetensors")
    return folder


def rows_in(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_both_arms_begin_alike_and_a_stopped_run_goes_on(five_sources, starts, tmp_path):
    out = tmp_path / "rows.csv"
    given = ["--data", str(five_sources), "--starts", str(starts), "--out", str(out), *SMALL]
    annotate_next.main(given)
    rows = rows_in(out)
    assert [(row["arm"], row["k_regions"]) for row in rows] == [
        (RANDOM, "1"), (RANDOM, "2"), (SUGGESTED, "1"), (SUGGESTED, "2")
    ]  # fmt: skip
    by = {(row["arm"], row["k_regions"]): row for row in rows}
    for column in ("iou", "regions", "steps"):
        assert by[RANDOM, "1"][column] == by[SUGGESTED, "1"][column]
    for arm in (RANDOM, SUGGESTED):
        first, *more = from_text(by[arm, "2"]["regions"])
        assert [first] == from_text(by[arm, "1"]["regions"])
        assert len(more) == 1
        assert first not in more
    assert {row["start"] for row in rows} == {"fcrn-without-B39"}

    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:4]) + lines[4][:20])  # killed while it wrote the last row
    annotate_next.main(given)
    again = rows_in(out)
    for column in ("iou", "regions"):
        assert [row[column] for row in again] == [row[column] for row in rows]
    before = out.read_bytes()
    annotate_next.main(given)
    assert out.read_bytes() == before

    report(["--results", str(out), "--out", str(tmp_path / "report.md")])
    text = (tmp_path / "report.md").read_text()
    assert "<!--" not in text
    assert "| B39 | 2 |" in text
    assert "<svg" in (tmp_path / "report.svg").read_text()


def test_the_annotator_draws_the_truth_in_the_region_and_nothing_else(five_sources):
    options = parse(["--data", str(five_sources), *SMALL])
    simulation = Simulation(load_target("B39", five_sources), load_model("fcrn"), 0, options)
    region = simulation.at_random[0]
    image, (top, left, bottom, right) = region
    (shot,) = simulation.annotate([region]).shots
    truth = simulation.pool[image].labels
    assert np.array_equal(shot.target > 0, (truth > 0) & (shot.weight > 0))
    assert shot.weight[top:bottom, left:right].all()
    assert shot.weight.sum() == (bottom - top) * (right - left)
    assert from_text(to_text([region])) == [region]


def test_a_start_that_has_seen_the_target_is_taken_only_if_wanted(five_sources, starts, tmp_path):
    with pytest.raises(SystemExit, match="There is no start without EM"):
        annotate_next.main(["--data", str(five_sources), "--starts", str(starts), "--targets", "EM"])
    options = parse(["--data", str(five_sources), "--starts", str(starts), "--bundled"])
    assert find_start("EM", options)[1] == "bundled fcrn"
    assert find_start("B39", options)[1] == "fcrn-without-B39"
    write_model(load_model("fcrn"), tmp_path / "fcrn-without-EM.safetensors")
    options = parse(["--data", str(five_sources), "--starts", str(starts), str(tmp_path)])
    assert find_start("EM", options)[1] == "fcrn-without-EM"


@pytest.mark.parametrize(
    ("gain", "noise", "word"),
    [(0.1, 0.01, ": better"), (-0.1, 0.01, "worse"), (0.01, 0.1, "no clear difference")],
)
def test_the_report_says_whatever_the_numbers_say(gain, noise, word):
    rows = [
        {"target": "EM", "arm": arm, "k_regions": str(k), "seed": str(seed),
         "iou": str(0.5 + (arm == SUGGESTED) * (gain + noise * (-1) ** seed))}
        for arm in (RANDOM, SUGGESTED) for k in (2, 3) for seed in range(4)
    ]  # fmt: skip
    assert word in verdict(rows)
