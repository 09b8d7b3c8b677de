"""The terms of the loss, and what follows from an entry."""

from __future__ import annotations

import csv
import subprocess
import sys

import pytest

from napari_fewshot_cells.base.errors import DataError
from napari_fewshot_cells.experiment.methods import METHODS
from napari_fewshot_cells.training.config import EpisodeShape, ReptileConfig, check_sources
from napari_fewshot_cells.training.curves_csv import append_rows, cut_rows
from napari_fewshot_cells.training.loss_terms import LOSS_TERMS
from napari_fewshot_cells.training.reptile import LOSS_COLUMNS

WITH_ANOTHER_TERM = """
from dataclasses import replace
from typer.testing import CliRunner
from napari_fewshot_cells.training.loss_terms import LOSS_TERMS, LossTerm

def small(s_m, variant):
    assert s_m.target.shape == s_m.weight.shape == s_m.logits.shape
    return s_m.logits.abs().mean() if variant == "absolute" else s_m.logits.square().mean()

LOSS_TERMS["size"] = LossTerm("L_S", small, sets=("m",), weight_name="gamma", weight=0.5, meaning="size",
                              variants=("squared", "absolute"), variants_help="Which.")

from napari_fewshot_cells.cli.train.evaluate import method_of
from napari_fewshot_cells.cli.train.main import app
from napari_fewshot_cells.experiment.methods import METHODS
from napari_fewshot_cells.experiment.schedules import get_schedule, reptile_config, schedule_as_dict
from napari_fewshot_cells.models.model import ModelCard
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.training.config import ReptileConfig, check_sources
from napari_fewshot_cells.training.meta_training import CURVES

def run(out, *more):
    own = [w for name in "ab" for w in ("--sources", f"{name}={SOURCES[name]}")]
    sizes = "--k-shot 2 --inner-steps 1 --crops 1 --crop-size 32".split()
    result = CliRunner().invoke(app, ["meta", *own, "--out", out, *sizes, *more])
    assert result.exit_code == 0, result.output
    return read_model(__import__("pathlib").Path(out) / "model.safetensors")

assert CURVES == ("iteration", "seconds", "task", "bce", "entropy", "distillation", "size", "last_bce")
assert ReptileConfig().gamma == 0.5
assert ReptileConfig(alpha=0, beta=0).others == []
check_sources(ReptileConfig(alpha=0, beta=0), 1)
assert METHODS["complete"].weights == {"alpha": 0.01, "beta": 0.01, "gamma": 0.5}
schedule = get_schedule("cpu")
assert reptile_config(schedule, "bce+er", 0).gamma == 0
assert "gamma" not in schedule_as_dict(schedule)["reptile"]
assert method_of(ModelCard("old", "fcrn", hyper_parameters={"alpha": 0.1, "beta": 0.0})) == "bce+er"

model = run("with", "--meta-steps", "1", "--size", "absolute", "--gamma", "2")
assert (model.card.hyper_parameters["gamma"], model.card.hyper_parameters["size"]) == (2, "absolute")
assert "L_BCE + L_ER + L_D + L_S" in model.card.notes
without = run("without", "--meta-steps", "1", "--gamma", "0")
assert "L_S" not in without.card.notes
assert not model.network.head.weight.equal(without.network.head.weight)

# a run that began before the term existed resumes without it, in its old columns
from napari_fewshot_cells.models.model_file import write_model
from pathlib import Path
known = {k: v for k, v in without.card.hyper_parameters.items() if k not in ("gamma", "size")}
older = replace(without, card=replace(without.card, hyper_parameters=known))
write_model(older, Path("without/model.safetensors"))
lines = [line.split(",") for line in Path("without/curves.csv").read_text().splitlines()]
Path("without/curves.csv").write_text("".join(",".join(l[:6] + l[7:]) + "\\n" for l in lines))
run("without", "--meta-steps", "2", "--gamma", "0")
rows = Path("without/curves.csv").read_text().splitlines()
assert rows[0] == "iteration,seconds,task,bce,entropy,distillation,last_bce"
assert [row.count(",") for row in rows] == [6] * 5
"""


def test_an_entry_is_all_that_a_term_takes(tmp_path, two_sources):
    folders = {"a": str(two_sources / "B39"), "b": str(two_sources / "EM")}
    code = f"SOURCES = {folders!r}\n{WITH_ANOTHER_TERM}"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_papers_terms_and_columns():
    assert [term.symbol for term in LOSS_TERMS.values()] == ["L_ER", "L_D"]
    assert LOSS_COLUMNS == ("bce", "entropy", "distillation", "last_bce")  # the columns of all stored curves
    config = ReptileConfig(0.5, 0.25)
    assert (config.weight("entropy"), config.weight("distillation")) == (0.5, 0.25)
    assert (config.variant("entropy"), config.variant("distillation")) == ("printed", "pairwise")
    assert METHODS["complete"].all_weights == {"alpha": 0.01, "beta": 0.01}


@pytest.mark.parametrize(
    ("alpha", "beta", "others"), [(0, 0, []), (1, 0, ["n"]), (0, 1, ["p"]), (1, 1, ["n", "p"])]
)
def test_sets_that_no_term_looks_at_are_not_needed(alpha, beta, others):
    assert ReptileConfig(alpha, beta).others == others


def test_too_few_sources_names_the_terms_that_are_on():
    with pytest.raises(
        DataError, match="With L_ER, at least two source sets are needed; give more sets, or set alpha to 0"
    ):
        check_sources(ReptileConfig(0.1, 0), 1)
    with pytest.raises(DataError, match=r"With L_ER and L_D, .*, or set alpha and beta to 0"):
        check_sources(ReptileConfig(), 1)


def test_as_dict_is_flat_and_knows_all():
    flat = ReptileConfig(episode=EpisodeShape(k_shot=3)).as_dict()
    assert {"alpha", "beta", "entropy", "distillation", "meta_lr", "k_shot", "crops"} <= flat.keys()
    assert flat["k_shot"] == 3


def test_a_file_of_curves_keeps_its_columns(tmp_path):
    path = tmp_path / "curves.csv"
    append_rows(path, ("iteration", "bce", "last"), [(1, 0.5, 0.25)])
    append_rows(path, ("iteration", "bce", "new", "last"), [(2, 0.75, 9, 0.125)])
    with path.open(newline="") as file:
        assert [*csv.reader(file)] == [
            ["iteration", "bce", "last"],
            ["1", "0.5", "0.25"],
            ["2", "0.75", "0.125"],
        ]
    cut_rows(path, 2)
    assert len(path.read_text().splitlines()) == 3
