"""The experiment's jobs: their order, their files, why repeating one is safe, and what a failure stops."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from distributed import Client, LocalCluster

from napari_fewshot_cells.base.errors import DataError, FewShotError
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.datasets.five_sets import find_sources
from napari_fewshot_cells.experiment import run_cell as run_cell_module
from napari_fewshot_cells.experiment.matrix import (
    COLUMNS,
    collect,
    matrix,
    missing_cells,
    run_cell,
    run_matrix,
    train_start,
    untrained_starts,
    write_csv,
)
from napari_fewshot_cells.experiment.methods import METHODS
from napari_fewshot_cells.experiment.plan import Cell, Plan, Start, is_trained, iterations, read_cell
from napari_fewshot_cells.experiment.schedules import get_schedule, reptile_config
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.training.episodes import load_task
from napari_fewshot_cells.training.meta_training import meta_train, new_card

TARGETS = ("B5", "B39", "ssTEM", "EM", "TNBC")
TINY = """
base = "cpu"
reptile.episode = {k_shot = 2, inner_steps = 1, crops = 2, other_crops = 1, crop_size = 32}
meta_budget.meta_steps = 3
transfer = {batch = 2, crop_size = 32}
transfer_budget.meta_steps = 3
fine_tuning = {steps = 1, crops = 2, crop_size = 32}
"""


@pytest.fixture
def plan(tmp_path, five_sources):
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "out").mkdir()
    return Plan(five_sources, tmp_path / "out", get_schedule(str(tmp_path / "tiny.toml")), n_test=1)


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def files(folder):
    return {file.relative_to(folder): file.stat().st_mtime_ns for file in folder.rglob("*.*")}


def test_the_whole_matrix_in_the_order_of_urgency():
    cells = matrix(("fcrn", "unet"), TARGETS, METHODS)
    assert len(cells) == len({cell.key for cell in cells}) == 2500
    assert len({cell.start for cell in cells}) == 50
    main = [c for c in cells[:450] if c.method in ("complete", "bce", "transfer")]
    assert len(main) == 2 * 5 * 3 * 3 * 5  # networks, targets, methods, K, selections
    assert {c.k_shot for c in main} == {1, 5, 10}
    assert {c.selection for c in main} == set(range(5))
    assert [c.arch for c in main] == ["fcrn"] * 225 + ["unet"] * 225
    assert [c.method for c in main if c.target == "EM" and c.arch == "fcrn"] == (
        ["complete"] * 15 + ["bce"] * 15 + ["transfer"] * 15
    )
    ablations = cells[450:750]
    assert {c.method for c in ablations} == {"bce+er", "bce+d"}
    assert {c.k_shot for c in ablations} == {1, 5, 10}
    assert all(c.k_shot in (3, 7) or c.selection >= 5 for c in cells[750:])


def test_a_job_that_is_done_is_not_run_again(plan, monkeypatch):
    cell = Cell("fcrn", "EM", "complete", 1, 0)
    row = run_cell(plan, cell, train_start(plan, cell.start))
    before = files(plan.out)

    def forbidden(*_, **__):
        raise AssertionError("trained or fine-tuned again")

    monkeypatch.setattr(run_cell_module, "meta_train", forbidden)
    monkeypatch.setattr(run_cell_module, "few_shot_iou", forbidden)
    assert run_cell(plan, cell, train_start(plan, cell.start)) == row
    assert files(plan.out) == before


def test_what_a_cell_leaves(plan):
    start = train_start(plan, Start("fcrn", "EM", "bce"))
    assert start == plan.out / "starts" / "fcrn-EM-bce" / "model.safetensors"
    for selection in (0, 1):
        run_cell(plan, Cell("fcrn", "EM", "bce", 3, selection), start)
    row = json.loads((plan.out / "cells" / "fcrn-EM-bce-k3-s1.json").read_text())
    assert {*COLUMNS, "settings", "trained_on"} == set(row)
    assert row["trained_on"] == read_model(start).card.machine
    assert 0 <= row["iou"] <= 1
    assert (row["iterations"], row["n_test"], row["schedule"]) == (3, 1, "tiny.toml")
    assert row["settings"]["schedule"]["reptile"]["episode"]["inner_steps"] == 1
    assert [file.name for file in (plan.out / "overlays").iterdir()] == ["fcrn-EM-bce-k3-s0.npz"]
    with np.load(plan.out / "overlays" / "fcrn-EM-bce-k3-s0.npz") as overlay:
        assert overlay["image"].dtype == np.uint8
        assert overlay["truth"].dtype == overlay["predicted"].dtype == bool
        assert overlay["image"].shape == overlay["truth"].shape == overlay["predicted"].shape == (96, 96)


def test_the_methods_differ_in_their_losses_alone(plan):
    starts = {method: read_model(train_start(plan, Start("fcrn", "EM", method))).card for method in METHODS}
    weights = {
        m: (c.hyper_parameters.get("alpha"), c.hyper_parameters.get("beta")) for m, c in starts.items()
    }
    assert weights == {
        "transfer": (None, None),
        "bce": (0, 0),
        "bce+er": (0.1, 0),
        "bce+d": (0, 0.01),
        "complete": (0.01, 0.01),
    }
    for card in starts.values():
        assert [source["name"] for source in card.sources] == ["B5", "B39", "ssTEM", "TNBC"]


@pytest.mark.parametrize("method", ["transfer", "complete"])
def test_a_half_trained_start_goes_on_bit_for_bit(plan, tmp_path, monkeypatch, method):
    start = Start("fcrn", "B39", method)

    def killed(steps):
        while iterations(plan, start) < 1:
            for _ in range(5):  # an iteration of four tasks and one task more, or five of seven Adam steps
                next(steps)
            steps.close()
        raise KeyboardInterrupt

    budget = replace(plan.schedule.transfer_budget, meta_steps=7)
    schedule = replace(plan.schedule, meta_budget=budget, transfer_budget=budget)
    plan = replace(plan, schedule=schedule)
    with monkeypatch.context() as patched:
        patched.setattr(run_cell_module, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            train_start(plan, start)
    assert 1 <= iterations(plan, start) < 7
    assert not is_trained(plan, start)
    (tmp_path / "unbroken").mkdir()
    weights = [
        read_model(train_start(p, start)).network.state_dict()
        for p in (plan, replace(plan, out=tmp_path / "unbroken"))
    ]
    assert is_trained(plan, start)
    assert iterations(plan, start) == 7
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_what_meta_trained_by_itself_is_taken_over(plan):
    """A start that was trained elsewhere, e.g. on several ranks, by the same settings counts as trained."""
    start = Start("fcrn", "EM", "complete")
    folder = plan.start_folder(start)
    sources = list(find_sources(plan.data, [name for name in TARGETS if name != "EM"]).values())
    config = reptile_config(plan.schedule, "complete", plan.seed)
    card = new_card("fcrn", sources, config, command="meta", device="cpu")
    tasks = [load_task(source) for source in sources]
    finish(meta_train(folder, card, tasks, config, plan.schedule.meta_budget))
    before = (folder / "curves.csv").read_text()
    assert not is_trained(plan, start)
    trained = read_model(train_start(plan, start)).card
    assert is_trained(plan, start)
    assert (trained.command, trained.hyper_parameters["iterations"]) == ("meta", 3)
    assert (folder / "curves.csv").read_text() == before


def test_results_of_another_schedule_in_the_same_folder(plan):
    cell = Cell("fcrn", "EM", "bce", 1, 0)
    run_cell(plan, cell, train_start(plan, cell.start))
    elsewhere = [Cell("unet", "B5", "complete", 10, 3)]
    assert missing_cells([cell, *elsewhere], plan) == elsewhere
    cpu = get_schedule("cpu")
    for other in (replace(plan, seed=1), replace(plan, schedule=cpu), replace(plan, n_test=2)):
        with pytest.raises(
            DataError, match=r"k1-s0.json' was made by the schedule 'tiny.toml' with seed 0 and 1"
        ):
            missing_cells(elsewhere, other)
        with pytest.raises(DataError, match="was made by"):
            run_cell(other, cell, plan.start_folder(cell.start) / "model.safetensors")
    (plan.out / "cells" / "fcrn-EM-bce-k1-s0.json").unlink()
    for other in (replace(plan, seed=1), replace(plan, schedule=cpu)):
        with pytest.raises(DataError, match=r"bce' was trained by the schedule 'tiny.toml' with seed 0"):
            missing_cells([cell], other)
        with pytest.raises(DataError, match="was trained by"):
            train_start(other, cell.start)


def test_a_trained_start_serves_another_fine_tuning(plan, tmp_path):
    start = Start("fcrn", "EM", "bce")
    train_start(plan, start)
    recipe = replace(plan.schedule.fine_tuning, batch_norm="image")
    other = replace(plan, out=tmp_path / "other", schedule=replace(plan.schedule, fine_tuning=recipe))
    other.out.mkdir()
    shutil.copytree(plan.out / "starts", other.out / "starts")
    assert untrained_starts([Cell("fcrn", "EM", "bce", 1, 0)], other) == []
    run_cell(other, Cell("fcrn", "EM", "bce", 1, 0), train_start(other, start))


def test_damaged_and_foreign_files_are_named(plan):
    cell = Cell("fcrn", "EM", "bce", 1, 0)
    plan.cell_file(cell).parent.mkdir()
    plan.cell_file(cell).write_text('{"iou": 0.')
    with pytest.raises(DataError, match=r"fcrn-EM-bce-k1-s0.json' is damaged .* delete it"):
        missing_cells([cell], plan)
    plan.cell_file(cell).write_text('{"iou": 0.5}')
    with pytest.raises(DataError, match=r"fcrn-EM-bce-k1-s0.json' is no result"):
        collect(plan.out)


def test_a_machine_that_does_not_share_the_folders_writes_nothing(plan, tmp_path):
    start = Start("fcrn", "EM", "bce")
    for lost in (replace(plan, out=tmp_path / "nowhere"), replace(plan, data=tmp_path / "nowhere")):
        with pytest.raises(DataError, match=r"nowhere' on .*; all workers must share DATA and OUT"):
            train_start(lost, start)
    assert not (tmp_path / "nowhere").exists()


def test_run_collect_and_write(plan, client, tmp_path):
    cells = matrix(["fcrn"], ["EM", "B5"], ["complete"], [1, 10], range(2))
    events = list(run_matrix(cells, plan, client))
    assert [event.done for event in events] == list(range(1, 11))
    assert {event.total for event in events} == {10}
    assert [event.key for event in events if event.cell is None] == ["fcrn-EM-complete", "fcrn-B5-complete"]
    assert [event.error for event in events] == [None] * 10
    # the most urgent jobs run first, except that a worker may already hold the next job
    assert next(event.key for event in events if event.cell is not None) == "fcrn-EM-complete-k1-s0"
    rows = collect(plan.out)
    write_csv(rows, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == COLUMNS
    assert [(r["target"], r["k_shot"], r["selection"]) for r in table] == [
        (target, k, s) for target in ("B5", "EM") for k in ("1", "10") for s in ("0", "1")
    ]
    assert list(run_matrix(cells, plan, client)) == []


def test_a_failed_cell_does_not_stop_the_others(plan, client, monkeypatch):
    cells = matrix(["fcrn"], ["EM"], ["bce"], [1, 3], range(2))
    few_shot_iou = run_cell_module.few_shot_iou

    def fails_at_k_3(model, target, support, test, **options):
        if len(support) == 3:
            raise RuntimeError("out of luck")
        return few_shot_iou(model, target, support, test, **options)

    with monkeypatch.context() as patched:
        patched.setattr(run_cell_module, "few_shot_iou", fails_at_k_3)
        events = list(run_matrix(cells, plan, client))
    assert len(events) == 5
    failed = [event for event in events if event.error is not None]
    assert {event.key for event in failed} == {"fcrn-EM-bce-k3-s0", "fcrn-EM-bce-k3-s1"}
    assert "out of luck" in failed[0].trace
    assert "fails_at_k_3" in failed[0].trace
    assert [c.k_shot for c in missing_cells(cells, plan)] == [3, 3]
    again = list(run_matrix(cells, plan, client))
    assert [(event.cell.k_shot, event.error) for event in again] == [(3, None), (3, None)]


def test_a_failed_start_takes_only_its_own_cells_with_it(plan, client, monkeypatch):
    cells = matrix(["fcrn"], ["EM"], ["transfer", "bce"], [1], range(2))

    def fails(*_, **__):
        raise FewShotError("no transfer today")

    with monkeypatch.context() as patched:
        patched.setattr(run_cell_module, "transfer_train", fails)
        events = list(run_matrix(cells, plan, client))
    assert sum(event.error is None for event in events) == 3
    failed = [event for event in events if event.error is not None]
    assert {event.key for event in failed} == {
        "fcrn-EM-transfer",
        "fcrn-EM-transfer-k1-s0",
        "fcrn-EM-transfer-k1-s1",
    }
    assert all(str(event.error) == "no transfer today" for event in failed)


def test_closing_cancels_what_has_not_begun(plan, client):
    cells = matrix(["fcrn"], ["EM"], ["bce"], [1, 3, 5], range(3))
    events = run_matrix(cells, plan, client)
    for _ in range(2):
        next(events)
    events.close()
    there = len(list((plan.out / "cells").glob("*.json")))
    assert 1 <= there < 9
    assert len(list(run_matrix(cells, plan, client))) <= 9 - there
    assert missing_cells(cells, plan) == []


def test_workers_that_run_several_jobs_in_one_process_are_refused(plan):
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
        pytest.raises(FewShotError, match="--nthreads 1"),
    ):
        next(run_matrix([Cell("fcrn", "EM", "bce", 1, 0)], plan, client))


def test_a_cell_that_is_not_there(plan):
    assert read_cell(plan, Cell("fcrn", "EM", "bce", 1, 0)) is None
    assert iterations(plan, Start("fcrn", "EM", "bce")) == 0
