"""The comparison with what else a user could pick: methods, runner and report, on small simulated cells."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from skimage import io

import fewshot
from fewshot_bars import AT_TEN_SHOTS, bars, window_bars
from fewshot_forest import ForestSettings, best_threshold, features
from fewshot_methods import COMPLETE, METHODS, OURS, TRANSFER, Variant, _predictor
from fewshot_report import main as report
from fewshot_results import STANDARD, Result
from fewshot_targets import PHASE, Target, annotate, load_target
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import Shot
from napari_fewshot_cells.datasets.five_sets import SOURCE_NAMES
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.model_file import write_model
from napari_fewshot_cells.simulate import electron_microscopy, fluorescent_cells

SMALL = ["--targets", "B39", "--k-shots", "1", "--selections", "1", "--n-test", "2",
         "--trees", "30", "--pixels", "4000", "--steps", "4", "--epochs", "2"]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """B39, made of twelve small simulated images: ten to choose shots from and two to test on."""
    folder = tmp_path_factory.mktemp("data")
    for part in ("images", "masks"):
        (folder / "B39" / part).mkdir(parents=True)
    for seed in range(12):
        image, labels = fluorescent_cells((128, 128), seed=seed)
        io.imsave(folder / "B39" / "images" / f"{seed}.png", image, check_contrast=False)
        io.imsave(folder / "B39" / "masks" / f"{seed}.png", labels.astype("uint16"), check_contrast=False)
    return folder


@pytest.fixture(scope="module")
def starts(tmp_path_factory):
    """All starts of B39: the bundled networks, which have learnt from nuclei."""
    folder = tmp_path_factory.mktemp("starts")
    for arch, method in (TRANSFER, COMPLETE, OURS):
        write_model(load_model(arch), folder / f"{arch}-B39-{method}" / "model.safetensors")
    return folder


def rows_in(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def chance(data, row):
    """IoU of calling every pixel a cell: the share of cells in the test images."""
    target = load_target("B39", data)
    _, test = fewshot.select(len(target.shots), 1, int(row["selection"]), int(row["n_test"]))
    return np.mean([(target.shots[i].labels > 0).mean() for i in test])


def test_every_method_beats_chance_by_a_tenth(data, starts, tmp_path):
    out = tmp_path / "fewshot.csv"
    common = ["--data", str(data), "--starts", str(starts), "--out", str(out), *SMALL]
    fewshot.main([*common, "--annotations", "whole"])
    fewshot.main([*common, "--annotations", "scribbles", "--methods", "otsu", "forest", "paper", "ours"])
    rows = rows_in(out)
    found = [(row["annotation"], row["method"]) for row in rows]
    whole = [("whole", method) for method in METHODS]
    assert found == [*whole, ("scribbles", "otsu"), ("scribbles", "forest"), ("scribbles", "ours")]
    for row in rows:
        assert float(row["iou"]) > chance(data, row) + 0.1, row
        assert 0 <= float(row["ap50"]) <= 1
        assert float(row["seconds"]) == pytest.approx(
            float(row["fit_seconds"]) + float(row["predict_seconds"]), abs=0.02
        )
        assert row["n_test"] == "2"
        assert row["commit"]
    assert max(float(row["ap50"]) for row in rows) > 0.3


def otsu(data, out, *more):
    return ["--data", str(data), "--out", str(out), *SMALL, "--methods", "otsu", *more]


def test_a_stopped_run_goes_on_where_it_was(data, tmp_path, monkeypatch):
    out = tmp_path / "fewshot.csv"
    fewshot.main(otsu(data, out))
    complete = out.read_bytes()
    assert len(rows_in(out)) == 2
    measured = []
    real = fewshot.measure
    monkeypatch.setattr(fewshot, "measure", lambda *given: measured.append(given) or real(*given))
    fewshot.main(otsu(data, out))
    assert measured == []
    assert out.read_bytes() == complete
    out.write_bytes(complete[:-30])  # killed while it wrote the last row
    fewshot.main(otsu(data, out))
    assert len(measured) == 1
    first, again = rows_in(out)
    assert (first["annotation"], again["annotation"]) == ("whole", "scribbles")
    assert first.keys() == again.keys() == set(fewshot.COLUMNS)


def test_other_test_images_and_other_files_are_refused(data, tmp_path):
    out = tmp_path / "fewshot.csv"
    fewshot.main(otsu(data, out))
    with pytest.raises(SystemExit, match="on 2 test images, not 1"):
        fewshot.main(otsu(data, out, "--n-test", "1", "--selections", "2"))
    out.write_text("network,start\nfcrn,meta\n")
    with pytest.raises(SystemExit, match="no results of this benchmark"):
        fewshot.main(otsu(data, out))


def test_a_missing_start_shows_before_anything_is_measured(data, tmp_path):
    out = tmp_path / "fewshot.csv"
    with pytest.raises(SystemExit, match="fcrn-B39-complete"):
        fewshot.main(["--data", str(data), "--starts", str(tmp_path), "--out", str(out), *SMALL])
    assert not out.exists()


def test_ap_is_of_cells_cut_at_their_contact(touching_cells):
    image, model = touching_cells
    cells = np.zeros(image.shape, np.int32)
    cells[28:68, 27:72], cells[28:68, 72:117] = 2, 3
    target = Target("two", (Shot(to_plane(image, "two"), cells, whole_image=True),), instances=True)
    precisions = []
    for contact_logit in (0.0, None):
        fitted = _predictor(replace(model, card=replace(model.card, contact_logit=contact_logit)), "cpu")
        variant = Variant("ours", "", lambda *_, fitted=fitted: fitted)
        _, _, ap50, *_ = fewshot.measure(variant, target, [0], [0], "whole", None, 0)
        precisions.append(float(ap50))
    assert precisions[0] == 1
    assert precisions[1] < 1


@pytest.mark.parametrize("instances", [True, False])
def test_scribbles_follow_the_image_whatever_the_selection(instances):
    images = [electron_microscopy((160, 160), seed=seed) for seed in range(3)]
    shots = tuple(
        Shot(to_plane(image, "em"), labels if instances else 255 * (labels > 0), whole_image=True)
        for image, labels in images
    )
    target = Target("EM", shots, instances)
    one, two = annotate(target, [2], "scribbles"), annotate(target, [1, 2], "scribbles")
    np.testing.assert_array_equal(one.shots[0].labels, two.shots[1].labels)
    assert not one.shots[0].whole_image
    assert one.shots[0].weight.mean() <= 0.02
    assert annotate(target, [0, 1], "whole").shots == shots[:2]


def test_the_held_out_domain_is_the_same_every_time(monkeypatch):
    monkeypatch.setattr("fewshot_targets.N_PHASE", 1)
    (one,), (again,) = (load_target(PHASE, None).shots for _ in range(2))
    np.testing.assert_array_equal(one.plane.pixels, again.plane.pixels)
    assert one.labels.max() > 20


def test_the_forest_sees_colours():
    grey, _ = fluorescent_cells((64, 64), seed=1)
    colour = np.stack([grey // 16] * 3, axis=-1).astype(np.uint8)
    n_features = [features(to_plane(image, "x"), ForestSettings()).shape[-1] for image in (grey, colour)]
    assert n_features == [20, 60]


def test_the_forests_threshold_knows_how_rare_cells_are():
    rng = np.random.default_rng(0)
    is_cell = np.arange(4000) < 2000
    votes = np.clip(np.where(is_cell, 0.65, 0.35) + 0.15 * rng.standard_normal(4000), 0, 1)
    even, rare = best_threshold(votes, is_cell, 10_000, 10_000), best_threshold(votes, is_cell, 200, 19_800)
    assert 0.35 < even < 0.55
    assert rare > even + 0.15


def made_up(method, target, k_shot, iou, seconds=5.0, annotation="whole", selections=(0, 1)):
    return [
        Result(target, annotation, k_shot, selection, method, STANDARD[method], iou + 0.01 * selection, None,
               seconds, seconds - 1, 10, "abc", "2026-11-23T00:00:00+00:00", "a machine")
        for selection in selections
    ]  # fmt: skip


@pytest.fixture
def all_met():
    results = []
    for target in SOURCE_NAMES:
        for k_shot in (1, 5, 10):
            results += made_up("ours", target, k_shot, 0.85)
            results += made_up("forest", target, k_shot, 0.70)
        results += made_up("paper", target, 5, 0.78, seconds=1000.0, selections=(0,))
        results += made_up("ours", target, 5, 0.82, annotation="scribbles")
    for k_shot in (1, 5):
        results += made_up("ours", PHASE, k_shot, 0.85)
        results += made_up("forest", PHASE, k_shot, 0.85)
    return results


def verdicts(results, timed=None):
    return [bar.met for bar in bars(results, results if timed is None else timed)]


def test_bars_are_met_or_not(all_met):
    assert verdicts(all_met) == [True] * 11
    slow = [replace(r, seconds=16.0) if r.method == "ours" else r for r in all_met]
    assert verdicts(slow) == [True, False] + [True] * 9
    other_day = [replace(r, commit="def") if r.method == "paper" else r for r in all_met]
    assert verdicts(other_day) == [True, None] + [True] * 9
    assert verdicts(slow, timed=all_met) == [True] * 11  # seconds count where one run gave both
    assert verdicts(all_met, timed=[]) == [True, None] + [True] * 9
    low_once = [replace(r, iou=0.9) if (r.method, r.target) == ("forest", "TNBC") else r for r in all_met]
    assert verdicts(low_once) == [True, True, False, False] + [True] * 7
    scribbled = [replace(r, iou=0.75) if r.annotation == "scribbles" else r for r in all_met]
    assert verdicts(scribbled) == [True] * 5 + [False] + [True] * 5
    poor = [replace(r, iou=0.5) if (r.method, r.k_shot) == ("ours", 10) else r for r in all_met]
    assert verdicts(poor) == [True] * 6 + [False] * len(AT_TEN_SHOTS) + [True] * 2
    unlike = [replace(r, iou=0.9) if (r.method, r.target) == ("forest", PHASE) else r for r in all_met]
    assert verdicts(unlike) == [True] * 9 + [False] * 2


def test_bars_of_the_window():
    presses = [
        ("half-unet", "painted", "1", "5.0"),
        ("half-unet", "painted", "1", "6.0"),
        ("half-unet", "painted", "5", "8.1"),
        ("half-unet", "strokes", "5", "8"),
        ("fcrn", "painted", "10", "12.1"),
    ]
    columns = ("network", "annotation", "k_shot", "first_seconds")
    button = [dict(zip(columns, press, strict=True)) for press in presses]
    previews = [{"preview_seconds": s, "preview_iou": "0.72", "final_iou": "0.80"} for s in ("2.4", "2.5")]
    met = [True, False, None, None, True, None, None, None, False, None, None, None, True]
    assert [bar.met for bar in window_bars(button, previews)] == met
    assert [bar.met for bar in window_bars([], [])] == [None] * 13
    late = [{**row, "preview_seconds": "2.6"} for row in previews]
    poor = [{**row, "preview_iou": "0.71"} for row in previews]
    assert [window_bars(button, rows)[-1].met for rows in (late, poor)] == [False, False]


def test_a_bar_just_reached_is_met(all_met):
    exact = [replace(r, iou=r.iou + 0.02) if r.method == "paper" else r for r in all_met]  # 0.85 - 0.80
    assert verdicts(exact)[0]


def test_what_is_missing_is_missing_and_not_zero(all_met):
    some = [r for r in all_met if (r.method, r.target) != ("paper", "EM")]
    assert verdicts(some) == [None, None, True, True, None] + [True] * 6
    assert bars(some, some)[0].measured == "no results on EM"
    other_setting = [replace(r, setting="7 steps") if r.method == "ours" else r for r in all_met]
    assert set(verdicts(other_setting)) == {None}


def test_the_report(all_met, tmp_path):
    results = [r for r in all_met if (r.method, r.target) != ("paper", "EM")]
    path = tmp_path / "fewshot.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fewshot.COLUMNS)
        writer.writeheader()
        for r in results:
            row = {name: getattr(r, name, "") for name in fewshot.COLUMNS}
            writer.writerow({**row, "ap50": 0.5 if r.target == "TNBC" else ""})
    report(["--results", str(path), "--curve", str(path), "--out", str(tmp_path / "fewshot.md")])
    text = (tmp_path / "fewshot.md").read_text(encoding="utf-8")
    assert "<!--" not in text
    lines = [line.split(" | ") for line in text.splitlines()]
    forest, ours = "0.705 ± 0.007 (2)", "0.855 ± 0.007 (2) |"

    def line(target, forest, paper, ours):
        """Otsu, forest, three random starts, the paper's, transfer, FCRN with the button's recipe, ours."""
        return ["| whole", target, "5", "–", forest, "–", "–", "–", paper, "–", "–", ours]

    assert line("EM", forest, "–", ours) in lines
    assert line("B39", forest, "0.780 (1)", ours) in lines
    assert line("TNBC", "0.500 ± 0.000 (2)", "0.500 (1)", "0.500 ± 0.000 (2) |") in lines
    assert ["| whole", "B39", "5", "0.150 ± 0.000 (2)", "0.070 (1) |"] in lines
    assert ["| whole", "EM", "5", "0.150 ± 0.000 (2)", "– |"] in lines
    seconds = ["5.0 (4.0)", "–", "–", "–", "1000.0 (999.0)", "–", "–", "5.0 (4.0) |"]
    assert ["| whole", "5", "–", *seconds] in lines
    assert "mean over the 4 pairs of target and selection" in text  # those with the paper's
    assert (tmp_path / "fewshot.svg").read_text(encoding="utf-8").count("ours") >= 1
