"""A batch of files: what is written, skipped, left alone and reported."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from skimage import io

from napari_fewshot_cells.base.errors import DataError, ImageError
from napari_fewshot_cells.base.progress import Progress
from napari_fewshot_cells.data.image_files import list_images, read_plane
from napari_fewshot_cells.data.readers import stem_of
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.prediction import predict_files as predict_files_module
from napari_fewshot_cells.prediction.predict_files import (
    DONE,
    EXISTS,
    FAILED,
    REPORT,
    SKIPPED,
    BatchSettings,
    FileBegun,
    FileReport,
    find_inputs,
    predict_files,
    read_report,
)
from napari_fewshot_cells.prediction.probability import CellMaps

ALL = BatchSettings(probability=True, measurements=True, threshold=0.6, min_size=20)


@pytest.fixture
def model() -> Model:
    return Model(ModelCard("x", "fcrn", diameter=28.0), build_network("fcrn", seed=0).eval())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good images of two discs each, a damaged image between them, and a text file."""
    folder = tmp_path / "in"
    folder.mkdir()
    rows, columns = np.mgrid[:90, :120]
    discs = (np.hypot(rows - 40, columns - 30) <= 12) | (np.hypot(rows - 40, columns - 90) <= 12)
    pixels = np.where(discs, 200, 20).astype(np.uint8)
    tifffile.imwrite(folder / "a.tif", pixels)
    (folder / "b.png").write_bytes(b"\x89PNG and no more")
    io.imsave(folder / "c.png", pixels, check_contrast=False)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def bright_is_cell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace prediction: bright pixels are cells, in two steps. Returns the names of the predicted files."""
    names: list[str] = []

    def predicted(_: Any, plane: Any, **__: Any) -> Any:
        names.append(plane.name)
        yield Progress("predicting", 0, 1, 0.0)
        yield Progress("predicting", 1, 1, 0.0)
        return CellMaps(np.where(plane.pixels > 100, np.float32(0.9), np.float32(0.1)))

    monkeypatch.setattr(predict_files_module, "cell_steps", predicted)
    return names


def rows(events: Any) -> list[FileReport]:
    return [event for event in events if isinstance(event, FileReport)]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_bad_file_stops_nothing_and_all_is_told(
    model: Model, folder: Path, out: Path, bright_is_cell: Any
) -> None:
    files = find_inputs([folder, folder / "a.tif"])
    assert [file.name for file in files] == ["a.tif", "b.png", "c.png"]
    told = rows(predict_files(model, files, out, ALL, report=out / REPORT))
    assert [(row.file.name, row.status, row.objects) for row in told] == [
        ("a.tif", DONE, 2),
        ("b.png", SKIPPED, None),
        ("c.png", DONE, 2),
    ]
    assert "b.png" in told[1].message
    assert names(out) == [
        "a.tif", "a_objects.csv", "a_probability.tif", "c.tif", "c_objects.csv", "c_probability.tif", REPORT
    ]  # fmt: skip
    labels, chance = (tifffile.imread(out / name) for name in ("c.tif", "c_probability.tif"))
    assert (labels.dtype, labels.max(), chance.dtype) == (np.int32, 2, np.float32)
    table = list(csv.DictReader((out / "c_objects.csv").open(encoding="utf-8-sig")))
    assert [line["object"] for line in table] == ["1", "2"]
    assert [float(line["area"]) for line in table] == np.bincount(labels.ravel())[1:].tolist()
    lines = list(csv.DictReader((out / REPORT).open(encoding="utf-8-sig")))
    assert list(lines[0]) == ["file", "status", "objects", "seconds", "message"]
    assert [line["status"] for line in lines] == [DONE, SKIPPED, DONE]
    assert lines[0]["objects"] == "2"
    assert lines[1]["objects"] == ""


def test_what_is_there_is_not_made_again(model: Model, folder: Path, out: Path, bright_is_cell: Any) -> None:
    files = find_inputs([folder])
    list(predict_files(model, files[:1], out, report=out / REPORT))
    (out / "a.tif").write_bytes(b"corrected by hand")
    told = rows(predict_files(model, files, out, report=out / REPORT))
    assert [row.status for row in told] == [EXISTS, SKIPPED, DONE]
    assert told[0].objects == 2  # from the earlier report
    assert (out / "a.tif").read_bytes() == b"corrected by hand"
    assert bright_is_cell == ["a.tif", "c.png"]
    # incomplete results are not overwritten either, but reported
    (told, *_) = rows(predict_files(model, files, out, BatchSettings(probability=True)))
    assert told.status == EXISTS
    assert "a_probability.tif" in told.message
    told = rows(predict_files(model, files, out, BatchSettings(overwrite=True)))
    assert [row.status for row in told] == [DONE, SKIPPED, DONE]
    assert tifffile.imread(out / "a.tif").max() == 2


def test_a_report_keeps_other_files_and_never_replaces_a_foreign_one(
    model: Model, folder: Path, out: Path, bright_is_cell: Any
) -> None:
    files = find_inputs([folder])
    list(predict_files(model, files[:1], out, report=out / REPORT))
    list(predict_files(model, files[2:], out, report=out / REPORT))
    assert [row.file.name for row in read_report(out / REPORT)] == ["a.tif", "c.png"]
    (out / REPORT).write_text("my,own,table\n1,2,3\n")
    with pytest.raises(DataError, match="is no report"):
        list(predict_files(model, files, out, report=out / REPORT))
    assert (out / REPORT).read_text() == "my,own,table\n1,2,3\n"


@pytest.mark.parametrize("content", ["", "file,status,objects,seconds,message\nonly one\n", "\xff\xfe"])
def test_damaged_reports(tmp_path: Path, content: str) -> None:
    (tmp_path / REPORT).write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match="is no report"):
        read_report(tmp_path / REPORT)


def test_cancel_leaves_nothing_half_written(
    model: Model, folder: Path, out: Path, bright_is_cell: Any
) -> None:
    events = predict_files(model, find_inputs([folder]), out, ALL, report=out / REPORT)
    for event in events:
        if isinstance(event, FileBegun) and event.file.name == "c.png":
            break
    assert isinstance(next(events), Progress)
    events.close()
    assert names(out) == ["a.tif", "a_objects.csv", "a_probability.tif", REPORT]
    assert [row.status for row in read_report(out / REPORT)] == [DONE, SKIPPED]
    told = rows(predict_files(model, find_inputs([folder]), out, ALL, report=out / REPORT))
    assert [row.status for row in told] == [EXISTS, SKIPPED, DONE]


def test_results_that_would_meet(model: Model, folder: Path, out: Path, bright_is_cell: Any) -> None:
    io.imsave(folder / "a.png", tifffile.imread(folder / "a.tif"), check_contrast=False)
    told = rows(predict_files(model, find_inputs([folder]), out))
    assert [(row.file.name, row.status) for row in told][:2] == [("a.png", DONE), ("a.tif", SKIPPED)]
    assert "both be written" in told[1].message
    before = (folder / "a.tif").read_bytes()
    settings = BatchSettings(overwrite=True)
    told = rows(predict_files(model, [folder / "a.tif"], folder, settings))
    assert told[0].status == SKIPPED
    assert "overwritten" in told[0].message
    assert (folder / "a.tif").read_bytes() == before


def test_a_full_disk_is_told_and_leaves_nothing(
    model: Model, folder: Path, out: Path, bright_is_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    told = rows(predict_files(model, [folder / "a.tif"], out, ALL))
    assert told[0].status == FAILED
    assert "No space left" in told[0].message
    assert names(out) == []


def test_too_little_memory_is_told(
    model: Model, folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predicted(*_: Any, **__: Any) -> Any:
        raise MemoryError
        yield

    monkeypatch.setattr(predict_files_module, "cell_steps", predicted)
    told = rows(predict_files(model, [folder / "a.tif"], out))
    assert (told[0].status, "memory" in told[0].message) == (FAILED, True)


# --- kinds of files


def write_zarr(path: Path, pixels: np.ndarray, *, version: str = "0.4") -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=pixels)
    scales = {"multiscales": [{"datasets": [{"path": "0"}]}]}
    group.attrs.update(scales if version == "0.4" else {"ome": scales})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, model: Model, out: Path, bright_is_cell: Any, version: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (1, 1, 1, 40, 50)).astype(np.uint16)
    write_zarr(tmp_path / "x.ome.zarr", pixels, version=version)
    assert list_images(tmp_path) == [tmp_path / "x.ome.zarr"]  # and not the chunks in it
    assert list_images(tmp_path / "x.ome.zarr") == [tmp_path / "x.ome.zarr"]
    np.testing.assert_array_equal(read_plane(tmp_path / "x.ome.zarr").pixels, pixels[0, 0, 0])
    told = rows(predict_files(model, find_inputs([tmp_path]), out))
    assert told[0].status == DONE
    assert tifffile.imread(out / "x.tif").shape == (40, 50)


def test_ome_zarr_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_zarr(tmp_path / "stack.zarr", np.zeros((3, 40, 50), np.uint8))
    with pytest.raises(ImageError, match=r"'stack.zarr' has 3 dimensions \(3, 40, 50\)"):
        read_plane(tmp_path / "stack.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ImageError, match=r"'empty.zarr' cannot be read"):
        read_plane(tmp_path / "empty.zarr")
    monkeypatch.setattr("napari_fewshot_cells.data.image_files.find_spec", lambda _: None)
    with pytest.raises(ImageError, match=r"pip install 'napari-fewshot-cells\[zarr\]'"):
        read_plane(tmp_path / "stack.zarr")


def test_microscope_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.CZI"
    file.write_bytes(b"as a microscope wrote it")
    assert list_images(tmp_path) == [file]
    monkeypatch.setattr("napari_fewshot_cells.data.image_files.find_spec", lambda _: None)
    with pytest.raises(ImageError, match=r"pip install bioio and its reader for .czi files"):
        read_plane(file)
    pixels = np.arange(400.0).reshape(1, 1, 1, 20, 20)
    image = SimpleNamespace(dask_data=pixels, dims=SimpleNamespace(order="TCZYX"), channel_names=None)
    monkeypatch.setitem(sys.modules, "bioio", SimpleNamespace(BioImage=lambda path: image))
    monkeypatch.setattr("napari_fewshot_cells.data.image_files.find_spec", lambda _: True)
    np.testing.assert_array_equal(read_plane(file).pixels, pixels[0, 0, 0])


def test_ome_tiff(tmp_path: Path) -> None:
    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20)
    tifffile.imwrite(tmp_path / "x.ome.tif", pixels[None, None], metadata={"axes": "CZYX"[:1] + "ZYX"})
    np.testing.assert_array_equal(read_plane(tmp_path / "x.ome.tif").pixels, pixels)
    assert stem_of(tmp_path / "x.ome.tif") == "x.ome"  # scripts know the results by this name
    assert stem_of(tmp_path / "x.ome.zarr") == "x"


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="no file or folder"):
        list_images(tmp_path / "none")


# --- contacts


def test_touching_cells_are_cut_at_their_contact(touching_cells: Any, tmp_path: Path, out: Path) -> None:
    image, model = touching_cells
    tifffile.imwrite(tmp_path / "two.tif", image)
    by_shape = replace(model, card=replace(model.card, contact_logit=None))
    for each, cells in ((model, 2), (by_shape, 1)):
        (told,) = rows(predict_files(each, [tmp_path / "two.tif"], out, BatchSettings(overwrite=True)))
        assert (told.status, told.objects) == (DONE, cells)
        assert tifffile.imread(out / "two.tif").max() == cells
