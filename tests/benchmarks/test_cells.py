"""How well touching cells are separated, before and after: runner and report, on small simulated domains."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from skimage import io

import cells
from cells import CONTACT, METHODS, PAIRS, RIGHTLY, SHAPE
from cells_report import Part, bars, findings, merged, part_table, parts
from cells_report import main as report
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.contacts import touching_cells
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import SupportSet
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models.library import bundled_dir
from napari_fewshot_cells.models.model_file import read_model, write_model
from napari_fewshot_cells.models.networks import knows_contacts, learn_contacts
from napari_fewshot_cells.prediction.probability import predict
from napari_fewshot_cells.simulate import fluorescent_cells

DOMAIN, FEW = "fluo_nuclei_sim", "tissue_membrane"

UNSEEN = bundled_dir() / "leave-one-out" / "half-unet-without-B39.safetensors"
"""A start without a contact output, trained on none of the domains."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two domains of small simulated images, one of ten and one of three; each image has touching cells."""
    folder = tmp_path_factory.mktemp("data")
    for name, number in ((DOMAIN, 10), (FEW, 3)):
        seeds = (seed for seed in range(100) if touching_cells(simulated(seed)[1]).size >= 4)
        for part in ("images", "masks"):
            (folder / "more" / name / part).mkdir(parents=True)
        for seed, _ in zip(seeds, range(number), strict=False):
            for part, values in zip(("images", "masks"), simulated(seed), strict=True):
                file = folder / "more" / name / part / f"{seed:02}.png"
                io.imsave(file, values.astype("uint16"), check_contrast=False)
    return folder


def simulated(seed):
    return fluorescent_cells((160, 160), seed=seed)


@pytest.fixture(scope="module")
def start():
    model = read_model(UNSEEN)
    assert learn_contacts(model.network)
    return model


@pytest.fixture(scope="module")
def starts(tmp_path_factory, start):
    folder = tmp_path_factory.mktemp("starts")
    for name in (DOMAIN, FEW):
        write_model(start, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(cells, "fine_tune", partial(fine_tune, recipe=Recipe().with_steps(4)))


@pytest.fixture
def given(data, starts, tmp_path):
    folders = ["--data", str(data), "--starts", str(starts), "--out", str(tmp_path / "cells.csv")]
    return [*folders, "--seeds", "0", "1", "--n-test", "2"]


def rows_in(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_cell_of_the_table_has_all_methods(given, tmp_path, capsys):
    cells.main([*given, "--seeds", "0"])
    rows = rows_in(tmp_path / "cells.csv")
    found = [tuple(row[column] for column in cells.KEY) for row in rows]
    assert found == [
        (domain, k, annotation, "0", "0", method)
        for domain, k in ((FEW, "1"), (DOMAIN, "1"), (DOMAIN, "5"))
        for annotation in cells.ANNOTATIONS
        for method in METHODS
    ]
    assert "skipped B39: there is no folder" in capsys.readouterr().out
    for row in rows:
        assert all(0 <= float(row[name]) <= 1 for name in ("iou", "ap50", "ap75", "mean_ap", "pq", "f1"))
        assert 0 <= float(row["recall_touching"]) <= 1
        assert float(row["fit_seconds"]) > 0
        assert row["n_test"] == "2"
        assert row["commit"]
    by = dict(zip(found, rows, strict=True))
    for key, row in by.items():
        shape, contact, rightly = (by[*key[:-1], method] for method in METHODS)
        assert float(rightly["ap50"]) >= float(shape["ap50"]) - 0.1
        assert shape["n_truth"] == contact["n_truth"] == rightly["n_truth"]
        if row["annotation"] == "scribbles":  # no two strokes touch
            assert [contact[name] for name in cells.MEANS] == [shape[name] for name in cells.MEANS]
            assert contact["uses_contacts"] == "0"
    rightly = [row for row in rows if row["method"] == RIGHTLY]
    shape = [row for row in rows if row["method"] == SHAPE]
    assert sum(float(row["ap50"]) for row in rightly) > sum(float(row["ap50"]) for row in shape)


def test_a_stopped_run_goes_on_where_it_was(given, tmp_path, monkeypatch):
    out = tmp_path / "cells.csv"
    given = [*given, "--domains", FEW, "--annotations", PAIRS]
    cells.main(given)
    complete = rows_in(out)
    measured = []
    real = cells.measure
    monkeypatch.setattr(cells, "measure", lambda *parts: measured.append(parts[-1]) or real(*parts))
    cells.main(given)
    assert measured == []
    out.write_bytes(out.read_bytes()[:-30])  # killed while it wrote the last row
    cells.main(given)
    assert measured == [1]
    again = rows_in(out)
    assert [[row[name] for name in cells.KEY + cells.MEANS] for row in again] == [
        [row[name] for name in cells.KEY + cells.MEANS] for row in complete
    ]
    with pytest.raises(SystemExit, match="on 2 test images, not 1"):
        cells.main([*given, "--n-test", "1", "--seeds", "2"])


def test_a_start_that_has_seen_its_domain_or_knows_no_contacts_is_refused(given, start, tmp_path):
    seen = replace(start, card=replace(start.card, sources=({"name": FEW},)))
    other = tmp_path / "other"
    write_model(seen, other / f"{FEW}.safetensors")
    given = [*given, "--domains", FEW, "--starts", str(other)]
    with pytest.raises(SystemExit, match="was trained on tissue_membrane itself"):
        cells.main(given)
    write_model(read_model(UNSEEN), other / f"{FEW}.safetensors")
    with pytest.raises(SystemExit, match="has no contact output"):
        cells.main(given)
    (other / f"{FEW}.safetensors").unlink()
    with pytest.raises(SystemExit, match="There is no model file"):
        cells.main(given)
    assert not (tmp_path / "cells.csv").exists()


def test_the_start_without_contacts_has_the_same_foreground(start):
    before = cells.without_contacts(start)
    assert knows_contacts(start.network)
    assert not knows_contacts(before.network)
    plane = to_plane(simulated(0)[0], "x")
    np.testing.assert_array_equal(predict(before, plane), predict(start, plane))


def test_contacts_are_learnt_from_two_painted_pairs(data, start):
    target = cells.load_domain(DOMAIN, data)
    strokes, pairs = (
        cells.annotated(target, [3, 4], annotation).shots for annotation in ("scribbles", PAIRS)
    )
    n_painted = 0
    for i, stroked, painted in zip([3, 4], strokes, pairs, strict=True):
        truth = cells.without_specks(target.shots[i].labels)
        new = [value for value in np.unique(painted.labels) if value > stroked.labels.max()]
        n_painted += len(new)
        for value in new:
            (cell,) = np.unique(truth[painted.labels == value])
            np.testing.assert_array_equal(painted.labels == value, truth == cell)
        others = ~np.isin(painted.labels, new)
        np.testing.assert_array_equal(painted.labels[others], stroked.labels[others])
    assert n_painted == 4
    assert cells.shows_contacts(start, SupportSet(pairs))
    tuned = finish(cells.fine_tune(start, SupportSet(pairs), seed=0))
    assert tuned.card.contact_logit is not None


def test_without_touching_cells_both_ways_are_the_same(data, start):
    target = cells.load_domain(DOMAIN, data)
    strokes = cells.annotated(target, [3, 4], "scribbles")
    assert not cells.shows_contacts(start, strokes)
    now = finish(cells.fine_tune(start, strokes, seed=0))
    today = finish(cells.fine_tune(cells.without_contacts(start), strokes, seed=0))
    assert now.card.contact_logit is None
    of_now = now.network.state_dict()
    for name, tensor in today.network.state_dict().items():
        np.testing.assert_array_equal(of_now[name], tensor)
    assert now.card.decision_logit == today.card.decision_logit


def test_pairs_touch_and_have_no_common_cell():
    truth = np.zeros((20, 40), np.int32)
    for number in range(1, 5):  # four in a row, and one alone
        truth[2:8, 6 * number : 6 * number + 6] = number
    truth[12:18, 2:8] = 5
    for seed in range(5):
        pairs = cells.touching_pairs(truth, seed, 2)
        chosen = [cell for pair in pairs for cell in pair]
        assert len(set(chosen)) == len(chosen)
        assert all(abs(a - b) == 1 and 5 not in (a, b) for a, b in pairs)
        assert cells.touching_pairs(truth, seed, 1) == pairs[:1]
    assert cells.touching_pairs(truth, 0, 0) == []
    assert cells.touching_pairs(np.where(truth == 5, truth, 0), 0, 2) == []


def test_cut_rightly_keeps_the_foreground_and_follows_the_truth():
    truth = np.zeros((20, 40), np.int32)
    truth[5:15, 5:12], truth[5:15, 12:20] = 1, 2
    foreground = np.zeros(truth.shape, bool)
    foreground[4:16, 4:21] = True  # both cells and their rims in one piece
    foreground[5:10, 30:36] = True  # no cell
    found = cells.cut_rightly(foreground, truth, 5.0)
    np.testing.assert_array_equal(found > 0, foreground)
    left, right, false = (found[rows, column] for rows, column in ((10, 4), (10, 20), (7, 32)))
    assert len({left, right, false}) == 3
    assert (found[5:15, 5:12] == left).all()
    assert (found[5:15, 12:20] == right).all()
    assert (found[5:10, 30:36] == false).all()


def test_test_images_are_never_support_and_the_same_for_every_k():
    for n_images, k_shots in ((30, (1, 5)), (8, (1, 5)), (7, (1,)), (5, (1,))):
        assert cells.largest_k(n_images) == max(k_shots)
        tests = []
        for k_shot in k_shots:
            support, test = cells.split(n_images, k_shot, 3, 6)
            assert len(support) == k_shot
            assert len(test) == min(6, n_images - max(k_shots))
            assert not set(support) & set(test)
            tests.append(test)
        assert len({tuple(test) for test in tests}) == 1


def made_up(k_shot, annotation, domain, seed, **ap50):
    """Rows of one cell of the table; without results of `right` it is 0.9."""
    ap50 = {SHAPE: ap50["shape"], CONTACT: ap50["contact"], RIGHTLY: ap50.get("right", 0.9)}
    return [
        {**dict.fromkeys(cells.COLUMNS, "0.5"), "domain": domain, "k_shot": str(k_shot), "selection": "0",
         "annotation": annotation, "seed": str(seed), "method": method, "ap50": str(value),
         "recall_touching": "" if domain == "B39" else "0.7", "uses_contacts": str(int(method == CONTACT)),
         "n_test": "6", "commit": "abc", "date": "2026-11-28T00:00:00+00:00", "machine": "a machine"}
        for method, value in ap50.items()
    ]  # fmt: skip


@pytest.fixture
def rows():
    return [
        *made_up(1, "whole", "B39", 0, shape=0.6, contact=0.7),
        *made_up(1, "whole", "B39", 1, shape=0.6, contact=0.8),
        *made_up(1, "whole", "plant_ovule", 0, shape=0.5, contact=0.8),
        *made_up(1, "whole", "em_neurites", 0, shape=0.895, contact=0.88),
        *made_up(1, "scribbles", "B39", 0, shape=0.5, contact=0.5),
        *made_up(1, "scribbles", "em_neurites", 0, shape=0.1, contact=0.1),
        *made_up(1, PAIRS, "B39", 0, shape=0.5, contact=0.6),
        *made_up(5, "whole", "B39", 0, shape=0.6, contact=0.6),
    ]


def test_the_tables_have_means_spreads_and_the_share_of_the_gap(rows):
    whole = parts(rows)[0]
    assert (whole.k_shot, whole.annotation) == ("1", "whole")
    lines = part_table(whole).splitlines()
    assert "| B39 | 0.600 ± 0.000 | 0.750 ± 0.071 | 0.900 ± 0.000 | 50% | 0.500 ± 0.000 |" in lines[3]
    assert lines[3].endswith("| – | – |")
    assert lines[4].startswith("| em_neurites | 0.895 | 0.880 | 0.900 | – |")  # hardly any gap
    assert lines[5].startswith("| **mean, loosely packed** | 0.748 | 0.815 | 0.900 | 44% |")
    assert lines[6].startswith("| plant_ovule | 0.500 | 0.800 | 0.900 | 75% |")
    assert lines[7].startswith("| **mean, packed** | 0.500 | 0.800 |")
    assert lines[8].startswith("| **mean of all** | 0.665 | 0.810 | 0.900 | 62% |")
    assert len(lines) == 9


def test_the_findings_are_made_from_the_numbers(rows):
    text = findings(parts(rows))
    assert "from 0.665 to 0.810 (K = 1, mean over 3 domains) and from 0.600 to 0.600 (K = 5" in text
    assert "close 62% (K = 1), 0% (K = 5) of the gap" in text
    assert "rises on 2 of 3 domains, most on plant_ovule (+0.300), least on em_neurites (-0.015)" in text
    strokes = text[text.index("With strokes alone") :]  # on B39 only, which has both
    assert "from 0.500 to 0.500 (K = 1, mean over 1 domains)" in strokes
    assert "besides, from 0.500 to 0.600 (K = 1)" in strokes
    assert text.count(". ") == 2
    assert findings(parts(made_up(1, PAIRS, "B39", 0, shape=0.5, contact=0.6))) == ""


def test_bars_are_met_missed_or_missing(rows):
    found = bars(parts(rows))
    one_shot = [True, True, False, False, True, True, True]
    five_shots = [False, None, True, False, True, None, True]
    assert [bar.met for bar in found] == [*one_shot, *five_shots]
    slow = [{**row, "fit_seconds": "0.6"} if row["method"] == CONTACT else row for row in rows]
    worse = [{**row, "iou": "0.49"} if row["method"] == CONTACT else row for row in slow]
    assert [bar.met for bar in bars(parts(worse))][4:7] == [False, True, False]
    assert bars([Part("1", "pairs", tuple(made_up(1, PAIRS, "B39", 0, shape=0.5, contact=0.6)))]) == []


def test_the_report_reads_files_of_two_processes_as_one(rows, tmp_path):
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for file, some in zip(files, (rows[:9], rows[6:]), strict=True):
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, cells.COLUMNS)
            writer.writeheader()
            writer.writerows(some)
    assert merged(files) == rows
    report(["--results", *map(str, files), "--out", str(tmp_path / "cells.md")])
    text = (tmp_path / "cells.md").read_text(encoding="utf-8")
    assert "<!--" not in text
    assert findings(parts(rows)) in text
    assert "### K = 1, pairs" in text
    assert "| 1 | whole | 4 | 4 |" in text
