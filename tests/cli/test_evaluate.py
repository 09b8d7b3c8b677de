"""``napari-fewshot evaluate``: all scores on the terminal, as JSON and as CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from .test_main import assert_fails, run


@pytest.fixture
def two_images(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of predicted and true labels: a pair that touches, merged, then one cell that is found."""
    a, b = np.zeros((20, 20), np.int32), np.zeros((20, 20), np.int32)
    a[2:12, 2:6], a[2:12, 6:12], b[4:8, 4:8] = 1, 2, 5
    a[15:18, 15:18] = 3
    merged = np.where(a == 1, 2, a)  # the second has 60 of its 100 px
    for folder, pixels in (("t", {"a": a, "b": b}), ("p", {"a": merged, "b": b})):
        (tmp_path / folder).mkdir()
        for name, labels in pixels.items():
            tifffile.imwrite(tmp_path / folder / f"{name}.tif", labels)
    return tmp_path / "p", tmp_path / "t"


def test_evaluate_writes_all_scores_as_json(tmp_path: Path, two_images: tuple[Path, Path]) -> None:
    done = run("evaluate", *two_images, "--json", tmp_path / "s.json")
    assert done.exit_code == 0, done.stderr
    report = json.loads((tmp_path / "s.json").read_text())
    a, b = report["images"]
    assert (a["name"], a["ap50"], a["recall_touching"], a["recall_isolated"]) == ("a", 2 / 3, 1 / 2, 1)
    assert (a["n_predicted"], a["n_truth"], a["count_error"]) == (2, 3, 1)
    assert a["pq"] == pytest.approx(1.6 / 2.5)
    assert (b["name"], b["pq"], b["recall_touching"], b["recall_isolated"]) == ("b", 1, None, 1)
    mean, pooled = report["mean"], report["pooled"]
    assert mean["ap50"] == pytest.approx((2 / 3 + 1) / 2)
    assert pooled["ap50"] == 3 / 4
    assert mean["recall_touching"] == pooled["recall_touching"] == 1 / 2
    assert (mean["count_error"], pooled["n_predicted"], pooled["n_truth"]) == (1 / 2, 3, 4)
    assert list(mean) == list(pooled) == [key for key in a if key != "name"]


def test_evaluate_writes_all_scores_as_a_table(tmp_path: Path, two_images: tuple[Path, Path]) -> None:
    files = tmp_path / "new" / "s.csv", tmp_path / "s.json"
    done = run("evaluate", *two_images, "--csv", files[0], "--json", files[1])
    assert done.exit_code == 0, done.stderr
    with files[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row.pop("image") for row in rows] == ["a", "b", "mean over images", "pooled over cells"]
    report = json.loads(files[1].read_text())
    for row, numbers in zip(rows, [*report["images"], report["mean"], report["pooled"]], strict=True):
        numbers.pop("name", None)
        assert row == {key: "" if value is None else str(value) for key, value in numbers.items()}


def test_evaluate_shows_a_short_table(two_images: tuple[Path, Path]) -> None:
    lines = run("evaluate", *two_images).stdout.splitlines()
    assert lines[0].split("  ")[0].strip() == "image"
    assert [line.split() for line in lines[1:5]] == [
        ["a", "1.0000", "0.6667", "0.3750", "0.6400", "0.5000", "1.0000", "2", "(3)"],
        ["b", "1.0000", "1.0000", "1.0000", "1.0000", "–", "1.0000", "1", "(1)"],
        ["mean", "1.0000", "0.8333", "0.6875", "0.8200", "0.5000", "1.0000", "1.5", "(2)"],
        ["pooled", "1.0000", "0.7500", "0.5050", "0.7429", "0.5000", "1.0000", "3", "(4)"],
    ]
    assert lines[5:] == [
        "mean ± sd: IoU 1.0000 ± 0.0000, AP@0.5 0.8333 ± 0.2357; number of objects wrong by 0.5 per image"
    ]
    assert max(map(len, lines)) <= 100


def test_evaluate_takes_a_number_in_two_pieces_as_one_object(tmp_path: Path) -> None:
    truth = np.zeros((20, 20), np.int32)
    truth[2:12, 2:12], truth[15:18, 15:18] = 4, 2
    predicted = truth.copy()
    predicted[2:12, 6] = 0
    for name, pixels in (("p", predicted), ("t", truth)):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    lines = run("evaluate", tmp_path / "p.tif", tmp_path / "t.tif").stdout.splitlines()
    assert lines[1].split()[2:] == ["1.0000", "0.9333", "0.9500", "–", "1.0000", "2", "(2)"]


def test_evaluate_refuses_what_it_cannot_read_or_write(tmp_path: Path, two_images: tuple[Path, Path]) -> None:
    one = two_images[0] / "b.tif"
    tifffile.imwrite(tmp_path / "large.tif", np.full((20, 20), 2**31, np.uint32))
    assert_fails(run("evaluate", tmp_path / "large.tif", one), "large.tif", "above 2³¹ − 1")
    (tmp_path / "file").touch()
    assert_fails(run("evaluate", *two_images, "--csv", tmp_path / "file" / "s.csv"), "cannot be written")
    both = tmp_path / "scores"
    assert_fails(run("evaluate", *two_images, "--csv", both, "--json", both), "scores", "different names")
    assert not both.exists()
