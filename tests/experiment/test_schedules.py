"""Schedules: the paper's exactly, the budgeted one equal for all methods, and checked TOML files."""

from __future__ import annotations

import ast
import json
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from napari_fewshot_cells.base.errors import FewShotError
from napari_fewshot_cells.experiment import schedules
from napari_fewshot_cells.experiment.methods import META_TRAINED, METHODS
from napari_fewshot_cells.experiment.schedules import (
    CPU_FINE_TUNING,
    get_schedule,
    reptile_config,
    schedule_as_dict,
    write_schedule,
)
from napari_fewshot_cells.finetune.recipe import PaperRecipe, Recipe
from napari_fewshot_cells.training.budget import Budget
from napari_fewshot_cells.training.config import EpisodeShape, ReptileConfig


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write


def test_the_papers_numbers():
    paper = get_schedule("paper")
    assert paper.reptile.episode == EpisodeShape(5, 30, 5, 5, 256, scale_jitter=1, mix=False, rescale=False)
    assert (paper.reptile.meta_lr, paper.reptile.lr, paper.reptile.weight_decay) == (1, 1e-3, 5e-4)
    switches = (
        paper.reptile.entropy,
        paper.reptile.distillation,
        paper.reptile.allow_same,
        paper.reptile.anneal,
    )
    assert switches == ("printed", "pairwise", True, False)
    assert paper.meta_budget == Budget(meta_steps=300)
    transfer = paper.transfer
    assert (transfer.batch, transfer.crop_size, transfer.lr, transfer.weight_decay) == (64, 256, 1e-3, 5e-4)
    assert transfer.stride is not None
    assert not transfer.rescale
    assert (transfer.by_set, transfer.balance, transfer.anneal) == (False, 1, False)
    crops = 4 * (8450 + 9000 + 9600 + 11550 + 12500) / 5 - 4 * 1000
    assert paper.transfer_budget.meta_steps == pytest.approx(50 * crops / 64, rel=0.05)
    assert paper.fine_tuning == PaperRecipe()


def test_the_budgeted_schedule_takes_todays_defaults_and_gives_all_methods_the_same_time():
    cpu = get_schedule("cpu")
    assert cpu.reptile == ReptileConfig()
    assert cpu.fine_tuning == CPU_FINE_TUNING
    assert cpu.meta_budget == cpu.transfer_budget
    assert cpu.meta_budget.minutes > 0
    assert cpu.meta_budget.meta_steps is None
    shape = cpu.reptile.episode
    same = (cpu.transfer.crop_size, cpu.transfer.rescale, cpu.transfer.scale_jitter, cpu.transfer.mix)
    assert same == (shape.crop_size, shape.rescale, shape.scale_jitter, shape.mix)


def test_the_budgeted_fine_tuning_stays_as_it_is_when_the_button_changes():
    assert asdict(CPU_FINE_TUNING) == {
        "steps": 30,
        "steps_per_shot": 6,
        "stroked_steps": 1.5,
        "crops": 8,
        "crop_size": 128,
        "lr": 1e-3,
        "partial_factor": 0.3,
        "outlined_factor": 0.6,
        "weight_decay": 5e-4,
        "balance": 1.0,
        "unpainted": True,
        "rescale": True,
        "mix": True,
        "calibrate": True,
        "refine": False,
        "batch_norm": "support",
        "views": 1,
    }
    tree = ast.parse(Path(schedules.__file__).read_text(encoding="utf-8"))
    (call,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CPU_FINE_TUNING"
    ]
    # no field is left to its default
    assert {keyword.arg for keyword in call.keywords} == {field.name for field in fields(Recipe)}


@pytest.mark.parametrize(
    ("method", "weights"),
    [("bce", (0, 0)), ("bce+er", (0.1, 0)), ("bce+d", (0, 0.01)), ("complete", (0.01, 0.01))],
)
def test_the_weights_of_the_methods(method, weights):
    config = reptile_config(get_schedule("paper"), method, seed=3)
    assert (config.alpha, config.beta) == weights
    assert config.seed == 3
    assert config.episode == get_schedule("paper").reptile.episode


def test_transfer_has_no_weights():
    assert ["transfer", *META_TRAINED] == list(METHODS)
    with pytest.raises(FewShotError, match="'transfer' is not meta-trained"):
        reptile_config(get_schedule("cpu"), "transfer", seed=0)


def test_a_file_changes_what_it_names_and_nothing_else(toml):
    cpu = get_schedule("cpu")
    mine = get_schedule(
        toml(
            'base = "cpu"\n[reptile]\nlr = 1\nentropy = "full"\n[reptile.episode]\ncrop_size = 128\n'
            "[meta_budget]\nmeta_steps = 7\n[fine_tuning]\nsteps = 60\n"
        )
    )
    assert mine.name == "mine.toml"
    assert (mine.reptile.lr, mine.reptile.entropy, mine.reptile.beta) == (1.0, "full", cpu.reptile.beta)
    assert mine.reptile.episode.crop_size == 128
    assert mine.reptile.episode.inner_steps == cpu.reptile.episode.inner_steps
    assert mine.meta_budget == Budget(meta_steps=7)
    assert mine.fine_tuning.steps == 60
    assert mine.fine_tuning.crops == cpu.fine_tuning.crops
    assert (mine.transfer, mine.transfer_budget) == (cpu.transfer, cpu.transfer_budget)


def test_a_table_may_have_a_base_of_its_own(toml):
    mine = get_schedule(toml('base = "cpu"\n[fine_tuning]\nbase = "paper"\nbatch_norm = "running"\n'))
    assert mine.fine_tuning == PaperRecipe(batch_norm="running")
    assert mine.reptile == get_schedule("cpu").reptile


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[reptile]\nlr = 0.1\n", "has no known base"),
        ('base = "gpu"\n', "has no known base"),
        ('base = "cpu"\nminutes = 5\n', "unknown key minutes"),
        ('base = "cpu"\n[fine_tuning]\nepochs = 5\n', r"\[fine_tuning\].*unknown key epochs; it knows steps"),
        ('base = "cpu"\n[reptile.episode]\nK = 5\n', r"\[reptile.episode\].*unknown key K"),
        ('base = "cpu"\n[meta_budget]\nepochs = 5\n', r"\[meta_budget\].*unknown key epochs"),
        ('base = "cpu"\n[meta_budget]\nminutes = "5"\n', "meta_budget.minutes in .* is wrong: .*number"),
        ('base = "cpu"\n[reptile]\nlr = true\n', "reptile.lr in .* is wrong"),
        ('base = "cpu"\n[reptile]\nepisode = 3\n', "reptile.episode in .* is wrong"),
        ('base = "cpu"\n[fine_tuning]\nsteps = 1.5\n', "fine_tuning.steps in .* is wrong: .*integer"),
        ('base = "cpu"\n[fine_tuning]\nbatch_norm = "none"\n', "'support', 'image' or 'running'"),
        ('base = "cpu"\n[fine_tuning]\nsteps = 0\n', "fine_tuning.steps .* is 0; it must be at least 1"),
        ('base = "cpu"\n[fine_tuning]\nlr = -1\n', "fine_tuning.lr .* at least 0"),
        ('base = "cpu"\n[fine_tuning]\nlr = nan\n', "fine_tuning.lr .* is nan"),
        ('base = "cpu"\n[reptile.episode]\ncrops = 0\n', "reptile.episode.crops .* at least 1"),
        ('base = "cpu"\n[meta_budget]\n', None),
        ('base = "paper"\n[reptile]\ndistillation = "matched"\n', None),
        (
            'base = "cpu"\n[reptile]\ndistillation = "matched"\n',
            "reptile in .* is wrong: Matched distillation",
        ),
        ('base = "cpu"\n[reptile]\nalpha = 1\nseed = 2\n', r"alpha, seed in \[reptile\].*cannot be set"),
        ('base = "cpu"\n[transfer]\nseed = 2\n', r"seed in \[transfer\].*cannot be set"),
        ('base = "cpu"\nreptile = 5\n', "'reptile' in .* is not a table"),
        ("base = cpu", "is not TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(toml, text, says):
    if says is None:
        get_schedule(toml(text))
        return
    with pytest.raises(FewShotError, match=says) as caught:
        get_schedule(toml(text))
    assert "\n" not in str(caught.value)
    assert "mine.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"), [("gpu", "no schedule 'gpu'; choose paper, cpu or"), ("none.toml", "cannot be read")]
)
def test_another_name_or_file(name, says):
    with pytest.raises(FewShotError, match=says):
        get_schedule(name)


@pytest.mark.parametrize("name", ["paper", "cpu"])
def test_saved_as_json_and_the_same_again_as_a_file(toml, tmp_path, name):
    write_schedule(get_schedule(name), tmp_path / "schedule.json")
    saved = json.loads((tmp_path / "schedule.json").read_text())
    assert saved == schedule_as_dict(get_schedule(name))
    assert saved.pop("name") == name
    text = f'base = "{name}"\n'
    for table, values in saved.items():
        nested = {key: value for key, value in values.items() if isinstance(value, dict)}
        for heading, part in [(table, values), *((f"{table}.{key}", value) for key, value in nested.items())]:
            plain = {k: v for k, v in part.items() if v is not None and not isinstance(v, dict)}
            text += f"[{heading}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in plain.items())
    again = get_schedule(toml(text))
    assert schedule_as_dict(again) == {"name": "mine.toml", **saved}


def test_the_file_in_the_documentation_is_a_schedule(toml):
    text = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text(encoding="utf-8")
    text = text.split("## A schedule of your own")[1]
    mine = get_schedule(toml(text.split("```toml\n")[1].split("```")[0]))
    assert mine.reptile.anneal
    assert mine.reptile.episode.other_crops == 2
    assert mine.meta_budget == mine.transfer_budget == Budget(minutes=30)
    assert mine.fine_tuning == PaperRecipe(epochs=10)
