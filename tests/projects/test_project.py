"""Projects and recovery copies on disk, without a window."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_fewshot_cells.base import atomic_files
from napari_fewshot_cells.base.errors import DataError, ProjectError
from napari_fewshot_cells.data.fingerprint import fingerprint
from napari_fewshot_cells.projects import recovery
from napari_fewshot_cells.projects.label_files import read_labels, write_labels
from napari_fewshot_cells.projects.project import (
    MANIFEST,
    ImageRecord,
    LabelsRecord,
    Project,
    RunRecord,
    Settings,
    read_project,
    write_manifest,
)
from napari_fewshot_cells.projects.project_folder import (
    UNKNOWN,
    ImageState,
    LabelsState,
    SessionState,
    find_image,
    write_project,
    write_state,
)
from napari_fewshot_cells.projects.recovery import RecoveryWriter, prune, recoveries, recovery_dir, settle

AN_IMAGE = {"name": "a", "fingerprint": {"shape": [3, 3], "dtype": "uint8", "digest": ""}}
A_LABELS = {"name": "a", "file": "a.tif", "shape": [3, 3], "dtype": "int32"}
SHARED = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
INTEGERS = ("uint8", "int8", "uint16", "int32", "int64", "uint64")


def image_state(array: np.ndarray, name: str = "cells", **facts: Any) -> ImageState:
    return ImageState(ImageRecord(name, UNKNOWN, **facts), array)


def labels_state(
    array: np.ndarray, image: int | None = 0, name: str = "annotation", **facts: Any
) -> LabelsState:
    return LabelsState(LabelsRecord(name, "", array.shape, array.dtype.name, image, **facts), array)


def painted_state(seed: int = 0, shape: tuple[int, ...] = (40, 50)) -> SessionState:
    rng = np.random.default_rng(seed)
    image, labels = rng.random(shape, dtype=np.float32), rng.integers(0, 5, shape, dtype=np.int32)
    return SessionState((image_state(image),), (labels_state(labels),))


def read_back(folder: Path, number: int = 0) -> tuple[np.ndarray, list[str]]:
    record = read_project(folder).labels[number]
    return read_labels(folder / record.file, record.shape, record.dtype, record.planes)


# --- labels


@SHARED
@given(
    labels=st.sampled_from(INTEGERS).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=2, max_dims=4, max_side=6))
    )
)
def test_any_labels_come_back(tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray) -> None:
    place = tmp_path_factory.mktemp("labels") / ("stack" if labels.ndim > 2 else "picture.tif")
    written = write_labels(place, labels)
    assert written.painted == labels.any()
    back, problems = read_labels(place, labels.shape, labels.dtype.name, written.planes)
    assert not problems
    assert back.dtype == labels.dtype
    np.testing.assert_array_equal(back, labels)


@SHARED
@given(
    first=arrays.arrays("uint8", (4, 3, 5), elements=st.integers(0, 1)),
    second=arrays.arrays("uint8", (4, 3, 5), elements=st.integers(0, 1)),
    remembered=st.booleans(),
)
def test_the_latest_labels_come_back(
    tmp_path_factory: pytest.TempPathFactory, first: np.ndarray, second: np.ndarray, remembered: bool
) -> None:
    place = tmp_path_factory.mktemp("labels") / "stack"
    written = write_labels(place, first)
    again = write_labels(place, second, written.checksums if remembered else None)
    np.testing.assert_array_equal(read_labels(place, second.shape, "uint8", again.planes)[0], second)


def test_only_planes_that_changed_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = np.zeros((5, 20, 30), np.int32)
    stack[1, 3:9, 3:9] = 2
    stack[3, 3:9, 3:9] = 3
    first = write_labels(tmp_path / "stack", stack)
    assert sorted(file.name for file in (tmp_path / "stack").iterdir()) == ["0001.tif", "0003.tif"]
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "stack").iterdir()}
    stack[3, 5, 5], stack[4, 1, 1] = 9, 1
    write_labels(tmp_path / "stack", stack, first.checksums)
    after = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "stack").iterdir()}
    assert {name for name, time in after.items() if before.get(name) != time} == {"0003.tif", "0004.tif"}


def test_a_plane_that_is_damaged_or_missing_does_not_take_the_others_along(tmp_path: Path) -> None:
    stack = np.ones((4, 20, 30), np.int32)
    place = tmp_path / "stack"
    written = write_labels(place, stack)
    (place / "0001.tif").unlink()
    (place / "0002.tif").write_bytes((place / "0002.tif").read_bytes()[:200])
    back, problems = read_labels(place, stack.shape, "int32", written.planes)
    assert back[[0, 3]].all()
    assert not back[[1, 2]].any()
    assert len(problems) == 2
    assert "0001.tif' is missing" in problems[0]
    assert "0002.tif' is damaged" in problems[1]
    assert not any("\n" in problem for problem in problems)


# --- fingerprints


@SHARED
@given(array=arrays.arrays("uint16", arrays.array_shapes(min_dims=2, max_dims=4, max_side=40)))
def test_a_fingerprint_is_that_of_the_pixels_not_of_their_container(array: np.ndarray) -> None:
    here = fingerprint(array)
    assert here == fingerprint(dask.array.from_array(array, chunks=7))
    assert here == fingerprint(array.astype(">u2"))
    assert here == fingerprint(np.asfortranarray(array))


def test_other_pixels_have_another_fingerprint() -> None:
    image = np.random.default_rng(0).random((500, 600))
    changed = image.copy()
    changed[:40] += 1
    prints = [fingerprint(array) for array in (image, changed, image.astype("float32"), image[:, :-1])]
    assert len(set(prints)) == 4


# --- project.json

TEXT = st.text(max_size=8)
PROJECTS = st.builds(
    Project,
    settings=st.builds(
        Settings,
        start=st.none() | TEXT,
        model=st.none() | TEXT,
        continued=st.booleans(),
        diameter=st.none() | st.floats(0, 1e6),
        threshold=st.floats(0, 1),
        min_size=st.none() | st.integers(0, 10**6),
        max_hole=st.integers(0, 10**6),
    ),
    runs=st.lists(st.builds(RunRecord, TEXT, shots=st.just(("a", "b"))), max_size=3).map(tuple),
    images=st.just((ImageRecord("é ☃", fingerprint(np.eye(3)), look={"scale": [1, 0.5]}),)),
    labels=st.lists(
        st.builds(
            LabelsRecord,
            TEXT,
            st.just("annotations/1.tif"),
            st.just((3, 4)),
            st.just("int32"),
            st.none() | st.just(0),
            painted=st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
    models=st.dictionaries(TEXT, st.just("models/a.safetensors"), max_size=2),
)


@SHARED
@given(project=PROJECTS)
def test_any_project_comes_back(tmp_path_factory: pytest.TempPathFactory, project: Project) -> None:
    folder = tmp_path_factory.mktemp("project")
    write_manifest(folder, project)
    assert read_project(folder) == project


@SHARED
@given(data=st.data())
def test_whatever_is_in_the_file_there_is_a_project_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("project")
    write_state(folder, painted_state())
    content = (folder / MANIFEST).read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    (folder / MANIFEST).write_bytes(content[:start] + data.draw(st.binary(max_size=6)) + content[end:])
    told = MANIFEST
    try:
        read_project(folder)
    except ProjectError as error:
        told = str(error)
    assert MANIFEST in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (None, "is not a project"),
        ({"format": 2}, "newer version"),
        ({"format": "x"}, "not written by"),
        ({"format": None}, "not written by"),
        ({"unfinished": True}, "never finished"),
        ({"images": [{"name": "a"}]}, "images[0].fingerprint is missing"),
        ({"settings": {"threshold": "high"}}, "settings.threshold cannot be 'high'"),
        ({"labels": [{**A_LABELS, "file": "../../a.tif"}]}, "'../../a.tif'"),
        ({"labels": [{**A_LABELS, "image": 7}]}, "not listed"),
        ({"models": {"m": "/etc/passwd"}}, "is not in the folder"),
        ({"images": [{**AN_IMAGE, "copy": "../a.tif"}]}, "images[0].copy cannot be '../a.tif'"),
        ({"labels": [{**A_LABELS, "shape": [3]}]}, "labels[0].shape cannot be [3]: it should have"),
        ({"labels": [{**A_LABELS, "shape": [3, -3]}]}, "labels[0].shape[1] cannot be -3"),
        ({"labels": {"a": 1}}, "labels cannot be {'a': 1}: it should be a list"),
        ({"settings": {"threshold": 2}}, "settings.threshold cannot be 2: it should be at most 1"),
        ({"settings": {"preview": 1}}, "settings.preview cannot be 1: it should be true or false"),
        ({"settings": {"max_hole": 2.5}}, "settings.max_hole cannot be 2.5"),
        ({"saved": "yesterday"}, "saved cannot be 'yesterday': it is no date"),
        ({"runs": [{"model": None}]}, "runs[0].model cannot be null: it should be text"),
        ('{"format": 1, "settings": {"diameter": 1e999}}', "settings.diameter cannot be inf"),
        ("[" * 100_000, "recursion limit exceeded"),
        ("text", "is damaged"),
        ('{"format": 1, "settings": {"diameter": NaN}}', "is damaged"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_project_is_one_line(tmp_path: Path, change: Any, told: str) -> None:
    write_state(tmp_path, painted_state())
    manifest = tmp_path / MANIFEST
    if change is None:
        manifest.unlink()
    elif isinstance(change, str):
        manifest.write_text(change)
    else:
        manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), **change}))
    with pytest.raises(ProjectError) as caught:
        read_project(tmp_path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


# --- saving


def test_a_project_holds_copies_and_can_be_moved(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)
    file = tmp_path / "data" / "a.tif"
    file.parent.mkdir()
    tifffile.imwrite(file, pixels)
    model = tmp_path / "mine.safetensors"
    model.write_bytes(b"weights")
    in_memory = np.random.default_rng(1).random((3, 20, 30))
    colours = np.random.default_rng(1).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    state = SessionState(
        (
            image_state(pixels, "a", path=str(file)),
            image_state(in_memory, "memory / only"),
            image_state(colours, rgb=True),
        ),
        (labels_state(np.ones((40, 50), np.int32)), labels_state(np.ones((3, 20, 30), np.uint8), 1)),
        models={"mine": model, "gone": tmp_path / "gone.safetensors"},
    )
    saved = write_project(tmp_path / "project", state)
    assert saved.notes == ("The model 'gone' is no longer in the library.",)
    (tmp_path / "project").rename(tmp_path / "elsewhere")
    file.unlink()
    folder = tmp_path / "elsewhere"
    project = read_project(folder)
    for record, array in zip(project.images, (pixels, in_memory, colours), strict=True):
        found = find_image(folder, record)
        assert found is not None
        assert found.is_relative_to(folder)
        np.testing.assert_array_equal(tifffile.imread(found), array)
        assert fingerprint(tifffile.imread(found)) == record.fingerprint
    assert (folder / project.models["mine"]).read_bytes() == b"weights"
    assert read_back(folder, 1)[0].all()


def test_large_image_files_stay_where_they_are(tmp_path: Path) -> None:
    file = tmp_path / "data" / "a.tif"
    file.parent.mkdir()
    tifffile.imwrite(file, np.eye(30))
    state = SessionState((image_state(np.eye(30), path=str(file)),))
    saved = write_project(tmp_path / "project", state, most_copied=100)
    assert "are not copied" in saved.notes[0]
    assert not (tmp_path / "project" / "images").exists()
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("data", "project"):
        (tmp_path / name).rename(moved / name)
    record = read_project(moved / "project").images[0]
    assert find_image(moved / "project", record) == moved / "data" / "a.tif"


def test_saving_again_replaces_what_is_no_longer_there(tmp_path: Path) -> None:
    one, two = painted_state(0), painted_state(1)
    both = SessionState(
        (*one.images, image_state(two.images[0].array, "b")),
        (*one.labels, labels_state(two.labels[0].array, 1)),
    )
    write_project(tmp_path / "p", both)
    write_project(tmp_path / "p", SessionState((both.images[1],), (labels_state(two.labels[0].array, 0),)))
    np.testing.assert_array_equal(read_back(tmp_path / "p")[0], two.labels[0].array)
    assert len(list((tmp_path / "p" / "annotations").iterdir())) == 1
    assert len(list((tmp_path / "p" / "images").iterdir())) == 1


@pytest.mark.parametrize("content", ["picture.png", MANIFEST])
def test_nothing_is_saved_among_other_things(tmp_path: Path, content: str) -> None:
    (tmp_path / content).write_text("{}")
    with pytest.raises(ProjectError, match="choose an empty or a new folder"):
        write_project(tmp_path, painted_state())
    assert [file.name for file in tmp_path.iterdir()] == [content]


def test_a_saving_that_was_cut_off_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "p"
    full_after(monkeypatch, 2)
    with pytest.raises(DataError, match="No space left"):
        write_project(folder, painted_state())
    with pytest.raises(ProjectError, match="never finished"):
        read_project(folder)
    monkeypatch.undo()
    write_project(folder, painted_state())
    np.testing.assert_array_equal(read_back(folder)[0], painted_state().labels[0].array)


@pytest.mark.parametrize("writes", range(4))
def test_a_full_disk_leaves_the_project_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    first, second = painted_state(0), painted_state(1)
    second = SessionState(
        second.images + first.images,
        (labels_state(second.labels[0].array, 0), labels_state(first.labels[0].array, 1)),
    )
    write_project(tmp_path / "p", first)
    full_after(monkeypatch, writes)
    with pytest.raises(DataError, match="No space left"):
        write_project(tmp_path / "p", second)
    np.testing.assert_array_equal(read_back(tmp_path / "p")[0], first.labels[0].array)
    assert not list((tmp_path / "p").rglob(".*"))


def full_after(monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """Make the disk full after a number of files."""
    fsync, left = os.fsync, iter(range(writes))

    def fail_or_sync(handle: int) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(atomic_files.os, "fsync", fail_or_sync)


# --- recovery


def test_nothing_painted_leaves_no_trace(own_home: Path) -> None:
    writer = RecoveryWriter()
    empty = SessionState((image_state(np.eye(20)),), (labels_state(np.zeros((20, 20), np.int32)),))
    assert writer.write(empty) is None
    assert not recovery_dir().exists()


def test_a_session_is_offered_when_it_is_over(own_home: Path) -> None:
    writer = RecoveryWriter()
    writer.write(painted_state())
    assert recoveries() == []  # it still runs
    writer.write(painted_state(), closed=True)
    (offered,) = recoveries()
    assert offered.project.annotated == 1
    np.testing.assert_array_equal(read_back(offered.folder)[0], painted_state().labels[0].array)
    writer.write(painted_state(), closed=True, saved=True)
    assert recoveries() == []  # saved as a project
    writer.write(painted_state(), closed=True)
    assert recoveries() == []  # still saved
    writer.write(painted_state(1), closed=True)
    assert len(recoveries()) == 1
    writer.write(painted_state(), closed=True, saved=False)
    settle(offered.folder, "dismissed")
    assert recoveries() == []
    assert read_back(offered.folder)[0].any()  # still on disk


def test_a_dead_process_of_a_reused_number_is_over(own_home: Path) -> None:
    code = (
        "import os, signal, sys; from tests.projects import test_project as t\n"
        "t.RecoveryWriter().write(t.painted_state(5)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], timeout=120)
    assert ran.returncode == -9
    (offered,) = recoveries()
    np.testing.assert_array_equal(read_back(offered.folder)[0], painted_state(5).labels[0].array)
    # the id now belongs to a process that began at another time: this one
    owner = offered.folder / "session.json"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "pid": os.getpid()}))
    assert len(recoveries()) == 1


@pytest.mark.parametrize(
    "owner", ["", "[" * 100_000, "[1]", '{"pid": "x"}', '{"pid": -1, "started": 0, "host": ""}',
              json.dumps({"pid": 10**30, "started": 0, "host": socket.gethostname()})]
)  # fmt: skip
def test_a_damaged_note_of_a_session_hides_neither_it_nor_the_others(own_home: Path, owner: str) -> None:
    for seed in range(3):
        writer = RecoveryWriter()
        writer.write(painted_state(seed), closed=True)
    assert writer.folder is not None
    (writer.folder / "session.json").write_text(owner)
    assert len(recoveries()) == 3
    settle(writer.folder, "dismissed")
    assert len(recoveries()) == 2


@pytest.mark.parametrize("saved", ["", "yesterday", "0001-01-01T00:00:00", None])
def test_a_session_of_no_known_time_does_not_hide_the_others(own_home: Path, saved: str | None) -> None:
    for seed in range(2):
        writer = RecoveryWriter()
        writer.write(painted_state(seed), closed=True)
    assert writer.folder is not None
    manifest = writer.folder / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), "saved": saved}))
    assert len(recoveries()) == 1


def test_the_last_few_are_kept_and_those_that_wait_go_last(own_home: Path) -> None:
    folders = []
    for seed in range(5):
        writer = RecoveryWriter()
        writer.write(painted_state(seed), closed=True, saved=seed in (3, 4))
        folders.append(writer.folder)
    running = RecoveryWriter()
    running.write(painted_state())
    (recovery_dir() / "foreign").mkdir()
    prune(most=4)
    left = {folder.name for folder in recovery_dir().iterdir()}
    assert {running.folder.name, *(folder.name for folder in folders[1:3])} <= left
    assert folders[3].name not in left
    assert "foreign" in left


def test_a_recovery_folder_that_somebody_removed_is_made_anew(own_home: Path) -> None:
    import shutil

    writer = RecoveryWriter()
    writer.write(painted_state())
    shutil.rmtree(recovery_dir())
    writer.write(painted_state(), closed=True)
    assert len(recoveries()) == 1


def test_settings_are_written_without_looking_at_labels(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, state = RecoveryWriter(), painted_state()
    writer.write(state)
    monkeypatch.setattr("napari_fewshot_cells.projects.project_folder.write_labels", None)
    chosen = SessionState(state.images, state.labels, Settings(model="mine"))
    saved = writer.write(chosen, scan=False)
    assert saved is not None
    project = read_project(writer.folder)
    assert project.settings.model == "mine"
    assert project.labels[0].painted
    assert recovery.read_owner(writer.folder).pid == os.getpid()
