"""A lab's own sources: what is read, which faults are found, and which sets a training uses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_fewshot_cells.base.errors import DataError
from napari_fewshot_cells.datasets.five_sets import SOURCE_NAMES
from napari_fewshot_cells.datasets.own_sets import check_source, choose_sources
from napari_fewshot_cells.training.episodes import load_task

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(100, 4000, (48, 64), dtype=np.uint16)
MASK = np.zeros((48, 64), np.uint8)
MASK[8:28, 8:28] = MASK[8:28, 38:58] = 255
LABELS = np.zeros((48, 64), np.uint16)  # two cells that touch
LABELS[8:28, 8:28], LABELS[8:28, 28:48] = 1, 2


def write(file: Path, pixels: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix.lower() in (".tif", ".tiff"):
        tifffile.imwrite(file, pixels)
    else:
        Image.fromarray(pixels).save(file)
    return file


def lay_out(folder: Path, masks: dict[str, np.ndarray], image: np.ndarray = IMAGE) -> Path:
    for name, mask in masks.items():
        write(folder / "images" / f"{Path(name).stem}.tif", image)
        write(folder / "masks" / name, mask)
    return folder


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A faultless source: 16-bit TIFF images, one PNG mask and one TIFF mask."""
    return lay_out(tmp_path / "lab", {"a.png": MASK, "b.tiff": MASK})


def errors(folder: Path) -> list[str]:
    return [problem.text for problem in check_source(str(folder)).problems if problem.forbids]


def notes(folder: Path) -> list[str]:
    own = check_source(str(folder))
    assert own.is_usable, own.problems
    return [problem.text for problem in own.problems]


# --- what is read -------------------------------------------------------------------------------------------


def test_png_and_tiff_are_paired_by_stem_and_measured(lab: Path):
    own = check_source(str(lab))
    assert own.is_usable
    assert own.problems == ()
    assert [(i.name, m.name) for i, m in own.source.pairs] == [("a.tif", "a.png"), ("b.tif", "b.tiff")]
    assert (own.source.name, own.source.licence) == ("lab", "as its owner says")
    assert own.summary is not None
    assert (own.summary.image_size, own.summary.dtype) == ("48×64", "uint16")
    assert own.summary.median_diameter == pytest.approx(2 * np.sqrt(400 / np.pi))
    assert own.summary.foreground == pytest.approx(800 / (48 * 64))
    task = load_task(own.source)
    assert (task.name, len(task.shots)) == ("lab", 2)


def test_touching_cells_count_apart_where_masks_number_them(tmp_path: Path):
    numbered = check_source(str(lay_out(tmp_path / "numbered", {"a.tif": LABELS, "b.tif": LABELS})))
    binary = (LABELS > 0).astype(np.uint8)
    together = check_source(str(lay_out(tmp_path / "binary", {"a.png": binary, "b.png": binary})))
    assert numbered.summary.median_diameter == pytest.approx(2 * np.sqrt(400 / np.pi))
    assert together.summary.median_diameter == pytest.approx(2 * np.sqrt(800 / np.pi))


def test_float_masks_of_whole_numbers_and_grey_masks_saved_as_colour(tmp_path: Path):
    grey = np.repeat(MASK[..., None], 3, axis=2)
    own = check_source(str(lay_out(tmp_path / "lab", {"a.tif": MASK.astype(np.float32), "b.png": grey})))
    assert own.problems == ()


def test_a_source_is_called_as_its_folder_or_as_its_owner_says(lab: Path, monkeypatch: pytest.MonkeyPatch):
    assert check_source(f"yeast={lab}").source.name == "yeast"
    monkeypatch.chdir(lab)
    assert check_source(".").source.name == "lab"
    renamed = lab.rename(lab.parent / "x=y")
    assert check_source(f"z={renamed}").source.folder == renamed
    with pytest.raises(DataError, match="cannot name a source"):
        check_source(str(renamed))
    with pytest.raises(DataError, match="'B39' is a published set"):
        check_source(f"B39={renamed}")


# --- what is wrong ------------------------------------------------------------------------------------------


def test_a_folder_that_is_missing(lab: Path, tmp_path: Path):
    assert "There is no folder" in errors(tmp_path / "nowhere")[0]
    (lab / "masks").rename(lab / "labels")
    assert errors(lab)[0].startswith(f"There is no folder '{lab / 'masks'}'; a source is a folder that holds")


def damaged(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:60])


@pytest.mark.parametrize(
    ("name", "pixels", "words"),
    [
        ("masks/c.png", MASK[:40], "'masks/c.png' is 40×64 px but its image is 48×64 px"),
        ("masks/c.png", np.full_like(MASK, 255), "'masks/c.png' marks every pixel"),
        ("masks/c.png", RNG.integers(0, 255, (48, 64, 3), dtype=np.uint8), "'masks/c.png' .*in colour"),
        ("masks/c.tif", MASK / np.float32(510), "'masks/c.tif' .*not whole numbers"),
        ("masks/c.tif", MASK.astype(np.int16) - 1, "'masks/c.tif' .*below 0"),
        ("images/c.tif", np.full_like(IMAGE, 7), r"'images/c.tif' is constant \(every pixel is 7\)"),
        ("images/c.tif", np.stack([IMAGE] * 5), "'images/c.tif' has 3 dimensions"),
        ("images/c.tif", np.where(IMAGE > 200, IMAGE, np.nan).astype(np.float32), "'images/c.tif' .*NaN"),
        ("images/c.tif", damaged, "In images/: 'c.tif' cannot be read as an image"),
        ("masks/c.png", damaged, "In masks/: 'c.png' cannot be read as an image"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(lab: Path, name: str, pixels, words: str):
    lay_out(lab, {Path(name).with_suffix(".tif" if name.endswith(".tif") else ".png").name: MASK})
    file = lab / name
    if pixels is damaged:
        damaged(file)
    else:
        write(file, pixels)
    (text,) = errors(lab)
    assert re.search(words, text), text
    assert "\n" not in text


def test_every_problem_is_found_not_the_first_alone(lab: Path):
    lay_out(lab, {"c.png": MASK[:40], "d.png": np.full_like(MASK, 1)})
    write(lab / "masks" / "e.png", MASK)
    assert [text.split("'")[1] for text in errors(lab)] == ["masks/e.png", "masks/c.png", "masks/d.png"]


def test_partners(lab: Path):
    write(lab / "images" / "spare.png", IMAGE)
    (lab / "images" / "notes.txt").write_text("nobody annotated this one")
    (lab / "masks" / ".DS_Store").write_text("")
    assert notes(lab) == [
        "Files in images/ that are not images are not used: notes.txt.",
        "Images without a mask of the same name are not used: spare.png.",
    ]
    write(lab / "masks" / "a.tif", MASK)
    assert errors(lab) == ["'masks/a.png' and 'masks/a.tif' have the same name; remove one of them."]
    (lab / "masks" / "a.tif").rename(lab / "masks" / "a_mask.tif")
    assert errors(lab) == ["'masks/a_mask.tif' has no image of the same name; rename or remove it."]


def test_masks_in_a_format_that_changes_their_values_are_left_out(lab: Path):
    write(lab / "images" / "c.jpg", (IMAGE // 16).astype(np.uint8))
    write(lab / "masks" / "c.jpg", MASK)
    assert notes(lab) == [
        "Masks whose format changes their values are not used: c.jpg.",
        "Images without a mask of the same name are not used: c.jpg.",
    ]
    write(lab / "masks" / "c.png", MASK)
    assert notes(lab) == ["Masks whose format changes their values are not used: c.jpg."]
    assert len(check_source(str(lab)).source.pairs) == 3


def test_images_without_objects_are_left_out(lab: Path):
    lay_out(lab, {"c.png": np.zeros_like(MASK)})
    assert notes(lab) == ["'masks/c.png' is empty; its image is not used."]
    assert len(check_source(str(lab)).source.pairs) == 2


def test_fewer_than_two_images(lab: Path):
    lay_out(lab, {"a.png": np.zeros_like(MASK)})
    assert errors(lab) == ["Usable images: 1; at least 2 are needed."]
    (lab / "masks" / "b.tiff").unlink()
    (lab / "masks" / "a.png").unlink()
    assert "holds no image with a mask of the same name" in errors(lab)[0]


def test_masks_that_look_wrong(tmp_path: Path):
    inverted = 255 - MASK
    (text,) = notes(lay_out(tmp_path / "inverted", {"a.png": inverted, "b.png": inverted}))
    assert text == "74% of the pixels belong to objects: are the masks inverted?"
    specks = np.zeros_like(MASK)
    specks[::8, ::8] = 1
    (text,) = notes(lay_out(tmp_path / "specks", {"a.png": specks, "b.png": specks}))
    assert text.startswith("No object is as large as 25 px²")


# --- which sets a training gets -----------------------------------------------------------------------------


@pytest.fixture
def five(tmp_path: Path) -> Path:
    for name in SOURCE_NAMES:
        write(tmp_path / "five" / name / "images" / "a.png", IMAGE)
        write(tmp_path / "five" / name / "masks" / "a.png", MASK)
    return tmp_path / "five"


def names(*arguments) -> list[str]:
    return [source.name for source in choose_sources(*arguments)]


def test_own_sources_alone_or_beside_the_five(lab: Path, five: Path, own_home: Path):
    assert names(None, "none", [str(lab), f"more={lab}"]) == ["lab", "more"]
    assert names(five, "none", [str(lab)]) == [*SOURCE_NAMES, "lab"]
    assert names(five, "EM", [str(lab)]) == ["B5", "B39", "ssTEM", "TNBC", "lab"]
    assert names(five, "EM", []) == ["B5", "B39", "ssTEM", "TNBC"]
    with pytest.raises(DataError, match="fetch the sets or give their folder with --data"):
        choose_sources(None, "none", [])  # the fetched sets; there are none
    five.rename(own_home / "sources")
    assert names(None, "none", []) == list(SOURCE_NAMES)


def test_choices_without_sense(lab: Path):
    with pytest.raises(DataError, match="--target EM leaves out one of the five"):
        choose_sources(None, "EM", [str(lab)])
    with pytest.raises(DataError, match="Two sources are called 'lab'"):
        choose_sources(None, "none", [str(lab), str(lab)])
    lay_out(lab, {"c.png": MASK[:40], "d.png": MASK[:30]})
    with pytest.raises(
        DataError, match=r"'lab' cannot be used: 'masks/c.png' is 40×64 .* 1 more: napari-few"
    ):
        choose_sources(None, "none", [str(lab)])
