"""Preferences between starts, and the treatment of damaged and foreign files."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from napari_fewshot_cells.base import atomic_files
from napari_fewshot_cells.base.errors import DataError
from napari_fewshot_cells.models.library import library_dir
from napari_fewshot_cells.projects.preferences import (
    Preferences,
    preferences_file,
    read_preferences,
    write_preferences,
)

OTHERS = Preferences(
    network="unet", preview=False, scope="all images", min_size=30, max_hole=9, brush_size=12.5,
    folder="/µ data", batch_probability=True, batch_measurements=True,
    collapsed=("Objects", "Predict"),
)  # fmt: skip


def test_what_is_written_is_read_again() -> None:
    assert read_preferences() == (Preferences(), "")
    write_preferences(OTHERS)
    assert read_preferences() == (OTHERS, "")
    assert preferences_file().parent == library_dir().parent
    assert sorted(preferences_file().parent.iterdir()) == [preferences_file()]
    kept = json.loads(preferences_file().read_text("utf-8"))
    assert kept["network"] == "unet"
    assert kept["folder"] == "/µ data"


@pytest.mark.parametrize("name", [field.name for field in fields(Preferences)])
def test_every_preference_is_checked(name: str) -> None:
    write_preferences(OTHERS)
    kept = json.loads(preferences_file().read_text("utf-8"))
    preferences_file().write_text(json.dumps({**kept, name: {"a": 1}}))
    found, told = read_preferences()
    assert found == replace(OTHERS, **{name: getattr(Preferences(), name)})
    assert told.count(name) == 1
    assert "\n" not in told


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "damaged"),
        (b'{"file": "napari-fewsh', "damaged"),
        (b"\xff\xfe\x00\x01", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b"[1, 2]", "not written by"),
        (b'{"network": "unet"}', "not written by"),
        (b'{"file": "napari-fewshot-cells preferences", "format": 99}', "newer version"),
        (b'{"file": "napari-fewshot-cells preferences", "format": "x"}', "newer version"),
        (b" " * 2_000_000, "too large"),
    ],
)
def test_a_file_that_cannot_be_used_is_set_aside(content: bytes, why: str) -> None:
    path = preferences_file()
    for number in (1, 2):
        path.write_bytes(content)
        found, told = read_preferences()
        assert found == Preferences()
        assert why in told
        assert "\n" not in told
        assert not path.exists()
        aside = [file for file in path.parent.iterdir() if file.read_bytes() == content]
        assert len(aside) == number
    write_preferences(OTHERS)
    assert read_preferences() == (OTHERS, "")


def test_unknown_keys_and_values_that_cannot_be_are_ignored_one_by_one() -> None:
    write_preferences(OTHERS)
    kept = json.loads(preferences_file().read_text("utf-8"))
    wrong: dict[str, Any] = {
        "min_size": -1,
        "scope": "the moon",
        "preview": 1,
        "brush_size": True,
        "max_hole": 2.5,
    }
    preferences_file().write_text(json.dumps({**kept, **wrong, "from the future": {"a": 1}}))
    found, told = read_preferences()
    usual = Preferences()
    assert found.network == "unet"
    assert found.collapsed == OTHERS.collapsed
    for name in wrong:
        assert getattr(found, name) == getattr(usual, name)
        assert name in told
    assert preferences_file().exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 0, "12", None])
def test_a_brush_has_a_size_or_the_usual_one(value: Any) -> None:
    write_preferences(OTHERS)
    kept = json.loads(preferences_file().read_text("utf-8"))
    preferences_file().write_text(json.dumps({**kept, "brush_size": value}))
    assert read_preferences()[0].brush_size is None


def test_a_folder_in_its_place_is_told_and_left() -> None:
    preferences_file().mkdir()
    found, told = read_preferences()
    assert found == Preferences()
    assert told
    with pytest.raises(DataError, match="not saved"):
        write_preferences(OTHERS)


def test_a_full_disk_leaves_the_file_of_before() -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write_preferences(OTHERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic_files.os, "fsync", full)
        with pytest.raises(DataError, match="No space left") as told:
            write_preferences(Preferences())
    assert "\n" not in str(told.value)
    assert read_preferences() == (OTHERS, "")


def test_the_home_is_made_when_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_FEWSHOT_HOME", os.fspath(tmp_path / "a" / "b"))
    assert read_preferences() == (Preferences(), "")
    write_preferences(OTHERS)
    assert read_preferences() == (OTHERS, "")
