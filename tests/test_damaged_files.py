"""Files that strangers, other programs or accidents have changed: each is a valid object or one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from napari_fewshot_cells.base.errors import ModelError, ProjectError
from napari_fewshot_cells.cli.main import app
from napari_fewshot_cells.models.library import bundled_dir, library_dir, list_models
from napari_fewshot_cells.models.model import ModelCard
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.plugin.jobs.library_job import library_job
from napari_fewshot_cells.projects.preferences import (
    Preferences,
    preferences_file,
    read_preferences,
    write_preferences,
)
from napari_fewshot_cells.projects.project import MANIFEST, Project, read_project
from napari_fewshot_cells.projects.project_folder import write_state

from .projects.test_project import painted_state

SHARED = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

CARD: dict[str, Any] = json.loads((bundled_dir() / "unet.json").read_text(encoding="utf-8"))
CARD |= {"diameter": 30.5, "mix": [0.5, 0.3, 0.2], "refinement": [0.1] * 13, "shots": ["a", "b"], "k_shot": 2}

BAD_CARDS = [
    ({"date": None}, "date cannot be null: it should be text"),
    ({"date": "yesterday"}, "date cannot be 'yesterday': it is no date"),
    ({"date": "0001-01-01"}, "date cannot be '0001-01-01'"),
    ({"score": 5}, "score cannot be 5: it should be text"),
    ({"notes": []}, "notes cannot be []: it should be text"),
    ({"architecture": ["unet"]}, "architecture cannot be ['unet']: it should be text"),
    ({"architecture": "vgg\n16"}, r"unknown network 'vgg\n16'"),
    ({"diameter": 0.001}, "diameter cannot be 0.001: it should be at least 1"),
    ({"diameter": True}, "diameter cannot be True: it should be a valid number"),
    ({"diameter": 1.5}, "canonical_diameter / diameter cannot be 28 / 1.5 px: it should be from 0.0625 to 8"),
    ({"canonical_diameter": 28e6}, "canonical_diameter cannot be 28000000.0: it should be at most 200"),
    ({"canonical_diameter": None}, "canonical_diameter cannot be null"),
    ({"decision_logit": math.nan}, "decision_logit cannot be nan: it should be a finite number"),
    ({"decision_logit": -math.inf}, "decision_logit cannot be -inf: it should be a finite number"),
    ({"decision_logit": "0"}, "decision_logit cannot be '0': it should be a valid number"),
    ({"mix": []}, "mix cannot be []: it should have at least 1 item"),
    ({"mix": [0.5, math.nan]}, "mix[1] cannot be nan: it should be a finite number"),
    ({"refinement": [0.1] * 12}, "it should have at least 13 items, not 12"),
    ({"views": 0}, "views cannot be 0: it should be at least 1"),
    ({"views": 9}, "views cannot be 9: it should be at most 4"),
    ({"batch_norm": "none"}, "batch_norm cannot be 'none': it should be 'support', 'image' or 'running'"),
    ({"k_shot": -1}, "k_shot cannot be -1: it should be at least 0"),
    ({"seed": 0.5}, "seed cannot be 0.5: it should be a valid integer"),
    ({"sources": [{"images": 3}]}, "sources[0] cannot be {'images': 3}: it should have a name"),
    ({"shots": "abc"}, "shots cannot be 'abc': it should be a list"),
    ({"hyper_parameters": []}, "hyper_parameters cannot be []: it should be names with values"),
    ({"name": "\ud800"}, "no JSON"),
    ({"format": "1"}, "format cannot be '1': it should be a valid integer"),
    ({"format": 2}, "newer version"),
    ({"what\nis this": 1}, "newer version"),
    ("[1]", "cannot be [1]: it should be names with values"),
    ("", "no JSON: EOF"),
    ('{"format": 1}', "name is missing"),
    ("[" * 100_000, "no JSON: recursion limit exceeded"),
]


@pytest.fixture(scope="module")
def weights() -> dict[str, Any]:
    return safetensors.torch.load_file(bundled_dir() / "unet.safetensors")


def with_card(file: Path, weights: dict[str, Any], card: object) -> Path:
    text = card if isinstance(card, str) else json.dumps(card)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(safetensors.torch.save(weights, {"card": text}))
    return file


def changed(change: object) -> object:
    return {**CARD, **change} if isinstance(change, dict) else change


@pytest.mark.parametrize(("change", "told"), BAD_CARDS)
def test_what_is_wrong_with_a_card_is_one_line(
    tmp_path: Path, weights: dict[str, Any], change: object, told: str
) -> None:
    with pytest.raises(ModelError) as caught:
        read_model(with_card(tmp_path / "m.safetensors", weights, changed(change)))
    assert told in str(caught.value)
    assert "'m.safetensors'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_damaged_models_hide_no_others(weights: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    opened = safetensors.safe_open

    def locked(path: Path, **options: Any) -> Any:
        if "locked" in path.name:
            raise PermissionError(13, "Permission denied")
        return opened(path, **options)

    monkeypatch.setattr(safetensors, "safe_open", locked)
    bad = [f"bad {number}" for number in range(len(BAD_CARDS))] + ["locked"]
    for name, (change, _) in zip(bad, [*BAD_CARDS, ({}, "")], strict=True):
        with_card(library_dir() / f"{name}.safetensors", weights, changed(change))
    with_card(library_dir() / "good.safetensors", weights, CARD)

    listed = CliRunner().invoke(app, ["models", "list"])
    assert listed.exit_code == 0, listed.output
    damaged = [line.split("  ")[0] for line in listed.stdout.splitlines() if "damaged" in line]
    assert sorted(damaged) == sorted(bad)
    (read,) = library_job()
    assert {row.entry.name for row in read.rows if row.card is None} == set(bad)
    assert all(row.fault for row in read.rows if row.card is None)
    assert {entry.name for entry in list_models()} - set(bad) == {"half-unet", "fcrn", "unet", "good"}


# --- anything

ODD = (
    st.sampled_from(
        [None, True, False, "", "a\nb", "/etc/passwd", [], {}, [[]], {"a": None}, math.nan, -math.inf]
    )
    | st.sampled_from([0, 1, -1, 2**31, 2**64, 10**400, 0.5, 1e-9, 28e6, 1e308])
    | st.text(max_size=4)
    | st.recursive(st.none() | st.floats() | st.integers(), st.lists, max_leaves=5)
    | st.integers(1, 300).map(lambda depth: json.loads("[" * depth + "]" * depth))
)


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """The value with a part of it replaced, removed, doubled or added."""
    inside = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    if not inside or draw(st.integers(0, 3)) == 0:
        return draw(ODD)
    where, how = draw(st.sampled_from(inside)), draw(st.sampled_from(["deeper"] * 3 + ["less", "more"]))
    new = value.copy()
    if how == "less":
        del new[where]
    elif how == "deeper":
        new[where] = draw(mutated(value[where]))
    elif isinstance(new, list):
        new.append(draw(ODD))
    else:
        new[draw(st.text(max_size=4))] = draw(ODD)
    return new


def often_mutated(value: Any) -> st.SearchStrategy[Any]:
    return mutated(value) | mutated(value).flatmap(mutated)


@SHARED
@given(card=often_mutated(CARD))
def test_whatever_a_card_says_there_is_a_model_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Any], card: Any
) -> None:
    file = with_card(tmp_path_factory.mktemp("card") / "m.safetensors", weights, card)
    told = "'m.safetensors'"
    try:
        assert isinstance(read_model(file).card, ModelCard)
    except ModelError as error:
        told = str(error)
    file.unlink()
    assert "'m.safetensors'" in told
    assert "\n" not in told


@SHARED
@given(data=st.data())
def test_whatever_a_manifest_says_there_is_a_project_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("project")
    write_state(folder, painted_state())
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(data.draw(often_mutated(manifest))))
    told = MANIFEST
    try:
        assert isinstance(read_project(folder), Project)
    except ProjectError as error:
        told = str(error)
    assert MANIFEST in told
    assert "\n" not in told


@SHARED
@given(data=st.data())
def test_whatever_is_kept_there_are_preferences_and_at_most_one_line(data: st.DataObject) -> None:
    write_preferences(Preferences("unet", min_size=3, brush_size=2.5, folder="/data"))
    kept = json.loads(preferences_file().read_bytes())
    preferences_file().write_text(json.dumps(data.draw(often_mutated(kept))))
    found, told = read_preferences()
    assert isinstance(found, Preferences)
    assert "\n" not in told
