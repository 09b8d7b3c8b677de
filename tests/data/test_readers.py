"""One list of readers: every command and the window know the same images, and read them alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
from skimage import io

from napari_fewshot_cells.base.errors import DataError, ImageError
from napari_fewshot_cells.cli import evaluate as evaluate_module
from napari_fewshot_cells.cli.evaluate import evaluate
from napari_fewshot_cells.cli.finetune import read_support
from napari_fewshot_cells.data import image_files
from napari_fewshot_cells.data.image_files import (
    list_images,
    pair_by_stem,
    read_contents,
    read_labels,
    read_pixels,
    read_plane,
)
from napari_fewshot_cells.data.plane import Plane
from napari_fewshot_cells.data.readers import READERS, Contents, Reader, stem_of
from napari_fewshot_cells.datasets.own_sets import check_source
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.model_file import write_model
from napari_fewshot_cells.prediction.metrics import InstanceScore
from napari_fewshot_cells.prediction.metrics import score as score_of
from napari_fewshot_cells.prediction.predict_files import BatchSettings, find_inputs

PIXELS = np.random.default_rng(0).integers(0, 200, (40, 50)).astype(np.uint8)
LABELS = np.zeros((40, 50), np.uint8)
LABELS[5:15, 5:15], LABELS[20:30, 20:30], LABELS[0] = 2, 3, 1


def write_zarr(path: Path, pixels: np.ndarray, axes: str = "", channels: tuple[str, ...] = ()) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    group.create_array("0", data=pixels)
    scales: dict[str, Any] = {"datasets": [{"path": "0"}]}
    if axes:
        scales["axes"] = [{"name": axis} for axis in axes]
    group.attrs.update(
        {"multiscales": [scales], "omero": {"channels": [{"label": name} for name in channels]}}
    )


def read_npy(path: Path) -> Contents:
    return Contents(np.load(path, allow_pickle=False))


@pytest.fixture
def npy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is registered at run time."""
    monkeypatch.setitem(READERS, "NumPy", Reader((".npy",), read_npy))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A source: images of all kinds, one file that is not an image, and masks of the same stems."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    io.imsave(images / "a.png", PIXELS, check_contrast=False)
    tifffile.imwrite(images / "b.tif", PIXELS)
    write_zarr(images / "c.ome.zarr", PIXELS[None, None, None])
    (images / "d.czi").write_bytes(b"as a microscope wrote it")
    np.save(images / "e.npy", PIXELS)
    io.imsave(images / ".hidden.png", PIXELS, check_contrast=False)
    (images / "notes.txt").write_text("not an image")
    (images / "old").mkdir()
    for stem in "abcde":
        io.imsave(masks / f"{stem}.png", LABELS, check_contrast=False)
    return images


def by_finetune(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read = []

    def read_plane(path: Path) -> Plane:
        read.append(path.name)
        return Plane(path.name, PIXELS.astype(np.float32))

    monkeypatch.setattr(image_files, "read_plane", read_plane)
    read_support(folder, folder.parent / "masks", whole_image=False)
    return read


def by_predict(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return [path.name for path in find_inputs([folder])]


def by_evaluate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    scored = []

    def score(predicted: Path, truth: Path) -> InstanceScore:
        scored.append(predicted.name)
        return score_of(LABELS, LABELS)

    monkeypatch.setattr(evaluate_module, "score", score)
    evaluate(folder, folder.parent / "masks", None)
    return scored


def by_add_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from napari_fewshot_cells.plugin.session.file_opener import files_in

    return [path.name for path in files_in([folder])]


def by_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from napari_fewshot_cells.plugin.jobs.batch_job import FilesFound, batch_job

    entry: Any = SimpleNamespace(path=write_model(load_model("fcrn"), folder.parent / "model"))
    events = batch_job(entry, [folder], folder.parent / "out", BatchSettings())
    return next([path.name for path in event.files] for event in events if isinstance(event, FilesFound))


def by_own_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    own = check_source(str(folder.parent))
    usable = [image.name for image, _ in own.source.pairs]
    texts = [problem.text for problem in own.problems]
    return sorted(
        [*usable, *(item.name for item in folder.iterdir() if f"'{item.name}' cannot" in str(texts))]
    )


USERS = [by_finetune, by_predict, by_evaluate, by_add_files, by_batch, by_own_source]


@pytest.mark.parametrize("listed", USERS)
def test_all_know_the_same_images(
    listed: Callable[..., list[str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.parent / "masks" / "e.png").unlink()  # every mask must have an image
    assert listed(folder, monkeypatch) == ["a.png", "b.tif", "c.ome.zarr", "d.czi"]


@pytest.mark.parametrize("listed", USERS)
@pytest.mark.usefixtures("npy")
def test_all_know_a_reader_that_is_registered_at_run_time(
    listed: Callable[..., list[str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert listed(folder, monkeypatch) == ["a.png", "b.tif", "c.ome.zarr", "d.czi", "e.npy"]


@pytest.mark.usefixtures("npy")
def test_what_a_registered_reader_reads(folder: Path) -> None:
    from napari_fewshot_cells.plugin.layers.file_layer import read_layer

    np.testing.assert_array_equal(read_plane(folder / "e.npy").pixels, PIXELS)
    np.save(folder / "labels.npy", LABELS)
    np.testing.assert_array_equal(read_labels(folder / "labels.npy"), LABELS)
    values, options = read_layer(folder / "e.npy")
    np.testing.assert_array_equal(values, PIXELS)
    assert (options["name"], options["rgb"], options["axis_labels"]) == ("e", False, ("y", "x"))
    np.save(folder / "colour.npy", np.stack([PIXELS] * 3, axis=-1))
    assert read_layer(folder / "colour.npy")[1]["rgb"]
    np.save(folder / "object.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ImageError, match=r"'object.npy' cannot be read as an image \(.*allow_pickle"):
        read_plane(folder / "object.npy")


def test_a_suffix_chooses_the_reader_and_the_longest_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, "mine", Reader((".raw.tif",), read_npy))
    assert stem_of(Path("x.raw.TIF")) == "x"
    assert stem_of(Path("x.ome.tif")) == "x.ome"
    assert stem_of(Path("x.ome.zarr")) == stem_of(Path("x.zarr")) == "x"
    assert stem_of(Path("x.unknown")) == "x"
    for wrong in ("npy", ".NPY"):
        with pytest.raises(ValueError, match="lower case"):
            Reader((wrong,), read_npy)


def test_a_reader_registered_later_takes_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, "my TIFF", Reader((".tif",), lambda path: Contents(PIXELS + 1)))
    np.testing.assert_array_equal(read_plane(folder / "b.tif").pixels, PIXELS + 1.0)


def test_a_file_without_a_reader(tmp_path: Path) -> None:
    for name in ("x.gif", "x"):
        (tmp_path / name).write_bytes(b"anything")
        assert list_images(tmp_path / name) == [
            tmp_path / name
        ]  # listed, so that the batch report says why it is skipped
        with pytest.raises(ImageError, match=r"its name must end in \.png, \.tif"):
            read_plane(tmp_path / name)
    with pytest.raises(DataError, match=r"holds no image \(\.png, .*\.zarr, .*\.czi"):
        list_images(tmp_path)
    with pytest.raises(ImageError, match="There is no file"):
        read_plane(tmp_path / "none.zarr")


def test_a_zarr_is_one_image_of_a_pair(folder: Path) -> None:
    pair = folder / "c.ome.zarr", folder.parent / "masks" / "a.png"
    assert pair_by_stem(*pair) == [pair]
    labels = folder.parent / "truth.zarr"
    write_zarr(labels, LABELS[None])
    np.testing.assert_array_equal(read_labels(labels), LABELS)


def test_stacks_are_opened_in_the_window_and_refused_for_a_plane(tmp_path: Path) -> None:
    from napari_fewshot_cells.plugin.layers.file_layer import read_layer

    stack = np.stack([PIXELS] * 10).reshape(1, 5, 2, 40, 50)
    write_zarr(tmp_path / "x.zarr", stack, "tzcyx", ("DAPI", "actin"))
    tifffile.imwrite(tmp_path / "x.ome.tif", stack, metadata={"axes": "TZCYX"})
    for file in ("x.zarr", "x.ome.tif"):
        values, options = read_layer(tmp_path / file)
        np.testing.assert_array_equal(values, stack[0])
        assert options["axis_labels"] == ("z", "c", "y", "x")
        with pytest.raises(
            ImageError, match=rf"'{file}' has \d dimensions .*2, 40, 50\); one 2-D plane is needed"
        ):
            read_plane(tmp_path / file)
    assert read_layer(tmp_path / "x.zarr")[1]["metadata"]["channel_names"] == ["DAPI", "actin"]


def test_three_planes_of_a_tiff_are_colours_for_the_commands(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.stack([PIXELS] * 3), photometric="minisblack")
    assert read_pixels(tmp_path / "x.tif").shape == (40, 50, 3)
    assert read_plane(tmp_path / "x.tif").colour is not None
    assert read_contents(tmp_path / "x.tif").values.shape == (3, 40, 50)


def test_what_does_not_fit_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_zarr(tmp_path / "x.zarr", np.stack([PIXELS] * 5))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=9_999))
    with pytest.raises(ImageError, match=r"'x.zarr' needs .* GiB of memory"):
        read_contents(tmp_path / "x.zarr")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10_000))
    assert read_contents(tmp_path / "x.zarr").values.shape == (5, 40, 50)


def test_channel_names_that_are_no_xml_do_not_keep_the_pixels_from_being_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", PIXELS, description="<OME broken</OME>")
    np.testing.assert_array_equal(read_plane(tmp_path / "x.tif").pixels, PIXELS)
