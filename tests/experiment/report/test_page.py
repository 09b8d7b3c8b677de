"""The report: its numbers agree with NumPy; its verdicts, its pictures, and the page in a browser."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
import subprocess
import time
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image
from scipy.stats import ttest_1samp
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_fewshot_cells.base.errors import DataError
from napari_fewshot_cells.datasets.five_sets import SOURCE_NAMES
from napari_fewshot_cells.experiment import matrix, methods
from napari_fewshot_cells.experiment.report import tables
from napari_fewshot_cells.experiment.report.comparisons import (
    paired_differences,
    rows_with,
    spread,
    summarise,
)
from napari_fewshot_cells.experiment.report.figures import COLOURS, DARK_COLOURS, bars_figure, for_page
from napari_fewshot_cells.experiment.report.overlays import beside, overlay
from napari_fewshot_cells.experiment.report.page import markdown, report
from napari_fewshot_cells.experiment.report.paper_claims import (
    Claim,
    check_orderings,
    common_loss,
    seconds_to,
)
from napari_fewshot_cells.experiment.report.results import (
    ARCHITECTURES,
    K_SHOTS,
    METHODS,
    Curve,
    FineTuning,
    Results,
    read_results,
    write_rows,
)

LEVEL = {"B5": 0.86, "B39": 0.85, "ssTEM": 0.55, "EM": 0.62, "TNBC": 0.42}
ABOVE_TRANSFER = {"transfer": 0.0, "bce": 0.06, "bce+er": 0.07, "bce+d": 0.07, "complete": 0.08}


def fine_tuning(**fields: object) -> FineTuning:
    given = {
        "arch": "fcrn", "target": "EM", "method": "complete", "k_shot": 1, "selection": 0, "iou": 0.5,
        "plain_iou": 0.5, "seconds": 30.0, "schedule": "cpu", "seed": 0, "commit": "0123abc", "device": "cpu",
        "n_test": 10, "iterations": 150, "train_seconds": 600.0, "date": "2026-11-23T10:00:00+00:00",
        "machine": "two cores", "software": "torch 2.13",
    }  # fmt: skip
    return FineTuning(**{**given, **fields})  # type: ignore[arg-type]


def whole_matrix(schedule: str = "cpu") -> list[FineTuning]:
    """Results that confirm the paper's claims, with a spread that shrinks with K."""
    rng = np.random.default_rng(0)
    rows = []
    for arch, target, k, selection in product(ARCHITECTURES, LEVEL, K_SHOTS, range(10)):
        luck = rng.normal(0, 0.05 / k)
        for method, gain in ABOVE_TRANSFER.items():
            value = LEVEL[target] - 0.02 + gain + 0.06 * (1 - 1 / k) + 0.02 * (arch == "unet") + luck
            value += rng.normal(0, 0.003)
            rows.append(
                fine_tuning(arch=arch, target=target, method=method, k_shot=k, selection=selection,
                            iou=value, plain_iou=value - 0.05, schedule=schedule)
            )  # fmt: skip
    return rows


def store(rows: list[FineTuning], folder: Path) -> Path:
    """Store rows as `protocol` does, with a training of two tasks and an overlay."""
    (folder / "cells").mkdir(parents=True)
    for row in rows:
        (folder / "cells" / f"{row.key}.json").write_text(json.dumps({**row.__dict__, "settings": {}}))
    for name, text in {
        "fcrn-EM-complete": "iteration,seconds,task,bce\n1,1.0,B5,0.8\n1,2.0,B39,0.6\n2,3.0,B5,0.4\n"
        "2,4.0,B39,0.2\n3,5.0,B5",  # a training in progress
        "fcrn-EM-transfer": "iteration,seconds,bce\n"
        + "".join(f"{i},{i}.0,{1 - i / 40}\n" for i in range(1, 29)),
    }.items():
        (folder / "starts" / name).mkdir(parents=True)
        (folder / "starts" / name / "curves.csv").write_text(text)
        (folder / "starts" / name / "schedule.json").write_text(
            json.dumps({"name": rows[0].schedule, "seed": 0})
        )
    (folder / "overlays").mkdir()
    truth = np.zeros((60, 90), bool)
    truth[10:30, 20:70] = True
    file, image = folder / "overlays" / "fcrn-EM-complete-k10-s0.npz", np.full(truth.shape, 77, np.uint8)
    np.savez_compressed(file, image=image, truth=truth, predicted=np.roll(truth, 10, axis=0))
    return folder


@pytest.mark.parametrize(
    ("folder", "start"),
    [
        ("fcrn-EM-complete", ("fcrn", "EM", "complete")),
        ("half-unet-EM-bce+er", ("half-unet", "EM", "bce+er")),
        ("unet-my-own-set-transfer", ("unet", "my-own-set", "transfer")),
        ("vgg-EM-complete", ("vgg", "EM", "complete")),
    ],
)
def test_a_start_by_the_name_of_its_folder(tmp_path: Path, folder: str, start: tuple[str, str, str]) -> None:
    of = tmp_path / "starts" / folder
    of.mkdir(parents=True)
    (of / "curves.csv").write_text("iteration,seconds,bce\n1,1.0,0.5\n")
    (of / "schedule.json").write_text(json.dumps({"name": "cpu", "seed": 0}))
    with (tmp_path / "results.csv").open("w", newline="") as file:
        csv.writer(file).writerows([fine_tuning().__dict__, fine_tuning().__dict__.values()])
    assert list(read_results([tmp_path]).curves) == [("cpu", *start, 0)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(whole_matrix(), tmp_path_factory.mktemp("results") / "out")


@pytest.fixture(scope="module")
def page(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the paper's whole matrix."""
    started = time.process_time()
    written = report(read_results([stored]), tmp_path_factory.mktemp("report"))
    assert time.process_time() - started < 60
    return written


def test_names_are_those_of_the_experiment() -> None:
    assert list(METHODS) == list(methods.METHODS)
    assert matrix.K_SHOTS == K_SHOTS
    assert list(FineTuning.__dataclass_fields__) == list(matrix.COLUMNS)


# --- numbers -----------------------------------------------------------------------------------------------


def test_summary_is_numpys() -> None:
    rows = whole_matrix()
    bars = summarise(rows)
    assert len(bars) == 250
    bar = next(b for b in bars if (b.arch, b.target, b.method, b.k_shot) == ("unet", "EM", "bce+d", 5))
    values = np.array(
        [r.iou for r in rows if (r.arch, r.target, r.method, r.k_shot) == ("unet", "EM", "bce+d", 5)]
    )
    assert len(values) == bar.iou.n == 10
    assert bar.iou.mean == pytest.approx(values.mean())
    assert bar.iou.sd == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / 9))
    assert bar.plain_iou.mean == pytest.approx(values.mean() - 0.05)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (bar.iou.low, bar.iou.high) == pytest.approx((expected.low, expected.high))


def test_spread_of_one_and_of_nothing() -> None:
    alone = spread([0.4])
    assert alone is not None
    assert (alone.mean, alone.n) == (0.4, 1)
    assert np.isnan([alone.sd, alone.low, alone.high]).all()
    assert spread([]) is None


def test_differences_are_paired_and_count_a_selection_once() -> None:
    rng = np.random.default_rng(1)
    ious = rng.random((2, 2, 3, 4))  # method, target, K, selection
    axes = [("complete", "transfer"), ("B5", "EM"), (1, 5, 10), range(4)]
    rows = [
        fine_tuning(method=m, target=t, k_shot=k, selection=s, iou=iou)
        for (m, t, k, s), iou in zip(product(*axes), ious.ravel(), strict=True)
    ]
    a, b = {"method": "complete"}, {"method": "transfer"}
    found = paired_differences(rows, a, b)
    expected = (ious[0] - ious[1]).mean(axis=1)
    assert found == pytest.approx(
        {(t, s, 0): expected[i, s] for i, t in enumerate(("B5", "EM")) for s in range(4)}
    )
    # Without its partner at K = 10, a selection has the other two; without any partner, no difference.
    fewer = [r for r in rows if not (r.method == "transfer" and r.selection == 3 and (r.k_shot == 10))]
    fewer = [r for r in fewer if not (r.method == "complete" and r.selection == 2 and r.target == "EM")]
    found = paired_differences(fewer, a, b)
    assert ("EM", 2, 0) not in found
    assert found["B5", 3, 0] == pytest.approx((ious[0] - ious[1])[0, :2, 3].mean())


def test_no_pairs_across_schedules_or_seeds() -> None:
    rows = [fine_tuning(method="complete", seed=1), fine_tuning(method="transfer", seed=0)]
    assert paired_differences(rows, {"method": "complete"}, {"method": "transfer"}) == {}
    rows = [fine_tuning(method="complete", schedule="paper"), fine_tuning(method="transfer")]
    assert paired_differences(rows, {"method": "complete"}, {"method": "transfer"}) == {}


# --- the paper's statements --------------------------------------------------------------------------------


def claim(claims: list[Claim], start: str, network: str) -> Claim:
    (found,) = [c for c in claims if c.paper.startswith(start) and c.network == network]
    return found


def test_statements_that_hold_hold() -> None:
    rows = whole_matrix()
    claims = check_orderings(rows, {})
    of = {(r.arch, r.target, r.method, r.k_shot, r.selection): r.iou for r in rows}

    def mean(arch: str, method: str, k_shots: tuple[int, ...] = K_SHOTS) -> float:
        return float(np.mean([of[arch, t, method, k, s] for t in LEVEL for k in k_shots for s in range(10)]))

    best = claim(claims, "The complete loss is best on average: above L_BCE + L_D", "U-Net")
    assert best.measured is not None
    assert best.measured.mean == pytest.approx(mean("unet", "complete") - mean("unet", "bce+d"))
    assert best.measured.n == 50
    assert best.unit == "selections of 5 targets"
    assert best.verdict == "holds"

    networks = claim(claims, "U-Net", "both")
    assert networks.measured is not None
    means = [np.mean([mean(arch, m) for m in METHODS]) for arch in ("unet", "fcrn")]
    assert networks.measured.mean == pytest.approx(means[0] - means[1])
    assert networks.detail == f"{means[0]:.3f} against {means[1]:.3f}"

    shots = claim(claims, "At least 5 shots", "FCRN")
    assert shots.measured is not None
    one, five, ten = (mean("fcrn", "complete", (k,)) for k in (1, 5, 10))
    assert shots.measured.mean == pytest.approx((five - one) - (ten - five))

    shrinks = claim(claims, "The spread shrinks", "FCRN")
    assert shrinks.measured is not None
    sds = {
        (t, m, k): np.std([of["fcrn", t, m, k, s] for s in range(10)], ddof=1)
        for t in LEVEL
        for m in METHODS
        for k in (1, 10)
    }
    assert shrinks.measured.mean == pytest.approx(
        np.mean([sds[t, m, 1] - sds[t, m, 10] for t in LEVEL for m in METHODS])
    )
    assert shrinks.measured.n == 5
    assert "smaller in 25 of 25" in shrinks.detail


def test_statements_that_do_not_hold_do_not() -> None:
    swapped = {"complete": "transfer", "transfer": "complete"}
    rows = [replace(r, method=swapped.get(r.method, r.method)) for r in whole_matrix()]
    claims = check_orderings(rows, {})
    assert (
        claim(claims, "The complete loss is best on average: above transfer", "FCRN").verdict
        == "does not hold"
    )
    assert claim(claims, "Transfer learning is close on B39", "FCRN").verdict == "does not hold"
    assert claim(claims, "TNBC reaches", "FCRN").verdict == "does not hold"


@pytest.mark.parametrize(
    ("ious", "verdict"),
    [
        ([0.95, 0.96, 0.94], "holds"),
        ([0.99, 0.80, 0.94], "holds, within the spread"),
        ([0.99, 0.70, 0.94], "does not hold, within the spread"),
        ([0.80, 0.81, 0.79], "does not hold"),
        ([0.95], "holds, n = 1"),
        ([], "not measured"),
    ],
)
def test_verdict_of_an_anchor(ious: list[float], verdict: str) -> None:
    rows = [fine_tuning(target="B5", k_shot=10, selection=s, iou=iou) for s, iou in enumerate(ious)]
    assert claim(check_orderings(rows, {}), "B5 reaches 0.90", "FCRN").verdict == verdict


@pytest.mark.parametrize(("gain", "verdict"), [(0.08, "holds"), (0.04, "does not hold")])
def test_only_more_shots_help_where_methods_are_nearer_than_shots(gain: float, verdict: str) -> None:
    rows = [
        fine_tuning(
            target=target, k_shot=k, selection=s, method=m,
            iou=0.85 + s / 100 + gain * (k == 10) - 0.06 * (m == "transfer"),
        )
        for target in ("B5", "B39") for s in range(3) for k in (1, 10) for m in ("complete", "transfer")
    ]  # fmt: skip
    found = claim(check_orderings(rows, {}), "If results are around 90 %", "FCRN")
    assert found.verdict == verdict
    assert found.measured is not None
    assert found.measured.mean == pytest.approx(gain - 0.06)
    assert found.unit == "selections of 2 targets"


@pytest.mark.parametrize(
    ("gap", "verdict"), [(0.02, "holds"), (-0.02, "holds"), (0.1, "does not hold"), (-0.1, "does not hold")]
)
def test_close_means_close_on_both_sides(gap: float, verdict: str) -> None:
    rows = [
        fine_tuning(
            target="B39", k_shot=10, selection=s, method=m, iou=0.8 + s / 100 + gap * (m == "transfer")
        )
        for s in range(4)
        for m in ("complete", "transfer")
    ]
    assert claim(check_orderings(rows, {}), "Transfer learning is close", "FCRN").verdict == verdict


def test_nothing_measured_says_so() -> None:
    assert {c.verdict for c in check_orderings([], {})} == {"not measured"}


def test_convergence_is_the_ratio_of_seconds_to_a_common_loss() -> None:
    seconds = np.arange(1.0, 201.0)
    slow, fast = (np.exp(-seconds / tau) for tau in (80.0, 8.0))
    curves = {
        ("cpu", "fcrn", "EM", method, 0): Curve(seconds, seconds, loss + 0.1)
        for method, loss in (("transfer", slow), ("complete", fast))
    }
    loss = common_loss(list(curves.values()))
    last_means = [np.mean(curve.bce[-5:]) for curve in curves.values()]
    assert loss == pytest.approx(max(last_means))
    assert seconds_to(curves["cpu", "fcrn", "EM", "transfer", 0], loss) == 200
    fast_means = [np.mean(fast[max(0, i - 4) : i + 1]) + 0.1 for i in range(200)]
    expected = 200 / seconds[np.flatnonzero(np.array(fast_means) <= loss)[0]]
    found = claim(check_orderings([], curves), "Meta-learning converges faster", "FCRN")
    assert found.measured is not None
    assert found.measured.mean == pytest.approx(expected)
    assert found.verdict == "holds, n = 1"
    assert np.isnan(seconds_to(curves["cpu", "fcrn", "EM", "complete", 0], 0.01))


# --- reading -----------------------------------------------------------------------------------------------


def test_folder_and_csv_give_the_same_report(stored: Path, page: Path) -> None:
    first, again = read_results([stored]), read_results([page.parent])
    assert first.rows == again.rows
    assert read_results([page.parent / "results.csv"]).rows == first.rows
    assert len(first.rows) == 2500
    assert list(first.curves) == list(again.curves)
    curve = first.curves["cpu", "fcrn", "EM", "complete", 0]
    np.testing.assert_allclose([curve.iteration, curve.seconds, curve.bce], [[1, 2], [2, 4], [0.7, 0.3]])
    assert markdown(first) == markdown(again)


def test_curves_beside_a_table_of_results(page: Path, tmp_path: Path) -> None:
    shutil.copy(page.parent / "results.csv", tmp_path / "mine.csv")
    assert read_results([tmp_path / "mine.csv"]).curves == {}
    shutil.copy(page.parent / "curves.csv", tmp_path / "mine-curves.csv")
    found = read_results([tmp_path / "mine.csv"]).curves
    assert found.keys() == read_results([page.parent]).curves.keys()


def test_rows_come_in_the_papers_order(stored: Path) -> None:
    rows = read_results([stored]).rows
    assert list(dict.fromkeys(r.arch for r in rows)) == ["fcrn", "unet"]
    assert list(dict.fromkeys(r.target for r in rows)) == list(SOURCE_NAMES)
    assert list(dict.fromkeys(r.method for r in rows)) == list(METHODS)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    rows = [fine_tuning(), fine_tuning(selection=1)]
    with pytest.raises(DataError, match="neither cells"):
        read_results([tmp_path])
    (tmp_path / "cells").mkdir()
    with pytest.raises(DataError, match="no results yet"):
        read_results([tmp_path])
    write_rows(rows, tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"fcrn-EM-complete-k1-s0 of schedule 'cpu' again"):
        read_results([tmp_path / "a.csv", tmp_path / "a.csv"])
    text = (tmp_path / "a.csv").read_text()
    (tmp_path / "b.csv").write_text(text.replace("plain_iou", "another"))
    with pytest.raises(DataError, match="lacks the column plain_iou"):
        read_results([tmp_path / "b.csv"])
    (tmp_path / "b.csv").write_text(text.replace("0.5", "half"))
    with pytest.raises(DataError, match="not a number"):
        read_results([tmp_path / "b.csv"])


def test_a_set_with_a_hyphen_in_its_name(tmp_path: Path) -> None:
    store([fine_tuning(target="my-cells")], tmp_path / "out")
    (tmp_path / "out" / "starts" / "fcrn-EM-complete").rename(
        tmp_path / "out" / "starts" / "fcrn-my-cells-bce+d"
    )
    found = read_results([tmp_path / "out"])
    assert ("cpu", "fcrn", "my-cells", "bce+d", 0) in found.curves
    assert tables.targets_of(found.rows) == [*SOURCE_NAMES, "my-cells"]


# --- pictures ----------------------------------------------------------------------------------------------


def test_overlay_has_the_papers_colours() -> None:
    truth = np.array([[1, 0], [0, 1]], bool)
    predicted = np.array([[1, 0], [1, 0]], bool)
    expected = [[(255, 255, 255), (0, 0, 0)], [(255, 0, 0), (0, 255, 0)]]
    np.testing.assert_array_equal(overlay(truth, predicted), expected)
    image = np.array([[0, 255], [128, 77]], np.uint8)
    pair = np.asarray(beside(image, truth, predicted).convert("RGB")).astype(int)
    np.testing.assert_array_equal(pair[:, 2:], expected)
    np.testing.assert_allclose(pair[:, :2], np.repeat(image[..., None], 3, 2), atol=1)


def test_overlay_in_the_page_and_beside_its_image(page: Path) -> None:
    (file,) = (page.parent / "overlay-images").iterdir()
    assert file.name == "fcrn-EM-complete-k10-s0-cpu-seed0.png"
    pair = np.asarray(Image.open(file).convert("RGB"))
    assert pair.shape == (60, 180, 3)
    assert pair[15, 90 + 30].tolist() == [0, 255, 0]  # missed
    assert pair[25, 90 + 30].tolist() == [255, 255, 255]
    assert pair[35, 90 + 30].tolist() == [255, 0, 0]  # false alarm
    embedded = re.findall(r'src="data:image/png;base64,([^"]+)"', page.read_text())
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in embedded]
    np.testing.assert_array_equal(shown[1], pair[:, 90:])
    assert "IoU 0.333" in page.read_text()


def test_without_overlays_no_pixel_of_the_data_is_written(stored: Path, page: Path, tmp_path: Path) -> None:
    rows = rows_with(read_results([stored]).rows, arch="fcrn", target="EM")
    results = replace(read_results([stored]), rows=tuple(rows), curves={})
    written = report(results, tmp_path / "report", overlays=False)
    assert not (written.parent / "overlay-images").exists()
    assert "<img" not in written.read_text()
    with pytest.raises(DataError, match="overlays of an earlier report"):
        report(results, page.parent, overlays=False)


def test_bars_are_as_high_as_the_means_and_their_errors_are_the_sds(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[list[float], list[float]]] = []
    draw = Axes.bar

    def noted(self: Axes, x: object, height: list[float], *args: object, **options: object) -> object:
        drawn.append((height, options["yerr"]))  # type: ignore[arg-type]
        return draw(self, x, height, *args, **options)

    monkeypatch.setattr(Axes, "bar", noted)
    rows = [row for row in whole_matrix() if row.arch == "unet"]
    bars_figure(rows, ["EM", "B5"], [1, 10])
    assert len(drawn) == 3 * len(METHODS)  # EM, B5 and their mean
    ious = {(r.target, r.method, r.k_shot, r.selection): r.iou for r in rows}
    for (heights, errors), (targets, method) in zip(
        drawn, product((["EM"], ["B5"], ["EM", "B5"]), METHODS), strict=True
    ):
        over = [[np.mean([ious[t, method, k, s] for t in targets]) for s in range(10)] for k in (1, 10)]
        assert heights == pytest.approx(np.mean(over, axis=1))
        assert errors == pytest.approx(np.std(over, axis=1, ddof=1))


def test_a_missing_bar_is_a_cross_and_not_a_zero() -> None:
    rows = [r for r in whole_matrix() if r.arch == "fcrn" and r.method != "bce"]
    svg = bars_figure(rows, ["B5"], [1])
    lines = svg.splitlines()
    bars = {m: sum(f'style="fill: {COLOURS[m]}"/>' in line for line in lines) for m in ("bce", "complete")}
    assert bars == {"bce": 0, "complete": 2}  # one of the target, one of the mean
    assert sum("<use" in line and COLOURS["bce"] in line for line in lines) == 2
    table = tables.summary_table(rows)
    assert {row[2:] for row in table.rows if row[1] == METHODS["bce"]} == {("–",) * 6}


def test_page_takes_all_its_colours_from_the_theme() -> None:
    inside = for_page(bars_figure([fine_tuning()], ["EM"], [1]))
    assert inside.startswith("<svg")
    assert "var(--complete)" in inside
    assert not [colour for colour in COLOURS.values() if colour in inside]
    assert DARK_COLOURS.keys() == COLOURS.keys()


@pytest.mark.parametrize("palette", [COLOURS, DARK_COLOURS])
def test_methods_stay_apart_for_the_colour_blind(palette: dict[str, str]) -> None:
    # Machado, Oliveira & Fernandes 2009, severity 1; on linear RGB
    simulations = {
        "none": np.eye(3).ravel(),
        "protan": [
            0.152286,
            1.052583,
            -0.204868,
            0.114503,
            0.786281,
            0.099216,
            -0.003882,
            -0.048116,
            1.051998,
        ],
        "deutan": [
            0.367322,
            0.860646,
            -0.227968,
            0.280085,
            0.672501,
            0.047413,
            -0.011820,
            0.042940,
            0.968881,
        ],
        "tritan": [
            1.255528,
            -0.076749,
            -0.178779,
            -0.078411,
            0.930809,
            0.147602,
            0.004733,
            0.691367,
            0.303900,
        ],
    }
    rgb = np.array([[int(palette[m][i : i + 2], 16) / 255 for i in (1, 3, 5)] for m in METHODS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for simulation in simulations.values():
        seen = np.clip(linear @ np.reshape(simulation, (3, 3)).T, 0, 1)
        lab = rgb2lab(np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)[None])[0]
        assert min(deltaE_ciede2000(lab[i], lab[j]) for i, j in combinations(range(5), 2)) > 10


# --- published ---------------------------------------------------------------------------------------------


def test_the_published_tables_are_those_of_the_published_results() -> None:
    folder = Path(__file__).parents[3] / "docs" / "results"
    results = read_results([folder / "paper-cpu.csv", folder / "paper-schedule.csv"])
    assert markdown(results) == (folder / "paper.md").read_text(encoding="utf-8")


# --- the page ----------------------------------------------------------------------------------------------


def test_page_is_one_file_that_says_where_numbers_come_from(page: Path) -> None:
    text = page.read_text()
    fetched = re.findall(
        r"""(?:\bsrc|xlink:href|<link[^>]* href)=["']?([^"'>]+)|url\(([^)]+)\)|@import""", text
    )
    assert all(a.startswith(("data:", "#")) or b.startswith("#") for a, b in fetched)
    assert "<script" not in text
    assert text.count("2,500") >= 2
    for said in ("seed 0", "schedule cpu", "commit 0123abc", "machine: two cores", "test images 10"):
        assert text.count(said) >= 4
    names = {file.name for file in page.parent.iterdir()}
    assert names == {
        "index.html", "results.csv", "summary.csv", "orderings.csv", "curves.csv", "overlay-images",
        "figure-3-fcrn-cpu.svg", "figure-4-unet-cpu.svg", "curves-fcrn-cpu.svg",
    }  # fmt: skip


def test_csv_tables(page: Path) -> None:
    with (page.parent / "summary.csv").open(newline="") as file:
        bars = list(csv.DictReader(file))
    assert len(bars) == 250
    rows = read_results([page.parent]).rows
    values = [r.iou for r in rows_with(rows, arch="fcrn", target="B5", method="transfer", k_shot=1)]
    assert float(bars[0]["iou_mean"]) == pytest.approx(np.mean(values), abs=1e-4)
    assert float(bars[0]["iou_sd"]) == pytest.approx(np.std(values, ddof=1), abs=1e-4)
    assert (bars[0]["n"], bars[0]["schedule"], bars[0]["commit"]) == ("10", "cpu", "0123abc")
    with (page.parent / "orderings.csv").open(newline="") as file:
        orderings = list(csv.DictReader(file))
    assert {row["threshold"] for row in orderings} == {"calibrated", "0.5"}
    assert len(orderings) == 2 * len(check_orderings(rows, {}))
    assert all("seed 0; schedule cpu; commit 0123abc;" in row["made from"] for row in orderings)


def test_schedules_are_not_mixed() -> None:
    rows = [fine_tuning(selection=s, iou=0.5 + s / 10) for s in range(3)]
    rows += [fine_tuning(selection=s, iou=0.6 + s / 10, schedule="paper") for s in range(2)]
    text = markdown(Results(tuple(rows), {}, {}))
    assert "## Schedule cpu" in text
    assert "## Schedule paper" in text
    assert "| EM | complete loss | 0.600 ± 0.100 |" in text
    assert "| EM | complete loss | 0.650 ± 0.071 |" in text
    assert "| cpu − paper | FCRN | EM | complete loss | -0.100 ± 0.000 (2) |" in text


def test_names_in_results_cannot_break_the_page(tmp_path: Path) -> None:
    written = report(Results((fine_tuning(machine="<script>alert(1)</script>"),), {}, {}), tmp_path)
    assert "<script" not in written.read_text()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: the page was not opened")
    profile = tmp_path_factory.mktemp("profile")
    return [
        found, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1366,768",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}",
    ]  # fmt: skip


def test_page_fits_a_laptop_screen_offline(page: Path, browser: list[str], tmp_path: Path) -> None:
    probe = """<script>
    document.querySelectorAll("details").forEach(part => part.open = true);
    const boxes = [...document.querySelectorAll(".scroll")];
    document.title = JSON.stringify({
      page: document.documentElement.scrollWidth,
      tables: Math.max(...boxes.map(box => box.scrollWidth - box.clientWidth)),
      broken: [...document.images].filter(image => !image.naturalWidth).length,
      plots: [...document.querySelectorAll(".plot svg")].map(svg => svg.getBoundingClientRect().height),
    });
    </script>"""
    (tmp_path / "probe.html").write_text(page.read_text().replace("</body>", probe + "</body>"))
    done = subprocess.run([*browser, "--dump-dom", (tmp_path / "probe.html").as_uri()],
                          capture_output=True, text=True, timeout=120, check=True)  # fmt: skip
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title is not None
    seen = json.loads(title[1])
    assert seen["page"] <= 1366
    assert seen["tables"] == 0  # no table scrolls sideways in its box
    assert seen["broken"] == 0
    assert len(seen["plots"]) == 3
    assert all(300 < height < 768 for height in seen["plots"])


def test_page_is_drawn_in_light_and_dark(page: Path, browser: list[str], tmp_path: Path) -> None:
    lightness = {}
    for name, options in {"light": [], "dark": ["--blink-settings=preferredColorScheme=0"]}.items():
        shot = tmp_path / f"{name}.png"
        subprocess.run([*browser, *options, f"--screenshot={shot}", page.as_uri()],
                       capture_output=True, timeout=120, check=True)  # fmt: skip
        pixels = np.asarray(Image.open(shot).convert("L"))
        assert pixels.shape == (768, 1366)
        assert pixels.std() > 10  # something is written on it
        lightness[name] = np.median(pixels)
    assert lightness["light"] > 200
    assert lightness["dark"] < 60
