"""Selections: seeded ones, nested over K, and those that the paper's authors published by image name."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from napari_fewshot_cells.base.errors import DataError
from napari_fewshot_cells.datasets.five_sets import SOURCE_NAMES, find_sources
from napari_fewshot_cells.experiment.few_shot_test import select
from napari_fewshot_cells.experiment.selections import load_selections, named_splits, seeded_splits

PUBLISHED = {
    "EM": {
        "1": {"1": ["xaaa"], "2": ["xaaz"], "3": ["xaba"], "4": ["xbaa"]},
        "3": {"1": ["xaaa", "xaaz", "xaba"], "2": ["xaaa", "xabb", "xabc"], "3": ["xaaa", "xaba"]},
    },
    "ssTEM": {"1": {"1": ["06"], "10": ["image1"]}},
}


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "selections.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def target(name, stems):
    """A target with only what a split uses: the names of its images."""
    shots = [SimpleNamespace(plane=SimpleNamespace(name=f"{stem}.png")) for stem in stems]
    return SimpleNamespace(name=name, shots=shots)


EM = target("EM", ["test_001", "test_002", "test_026", "test_027", "test_677"])


def test_names_of_tiffsplit_are_pages_in_base_26(file):
    splits, skipped = named_splits(load_selections(file(PUBLISHED)), EM, [1])
    assert [(split.selection, split.support) for split in splits] == [
        (1, (0,)),  # xaaa, page 0
        (2, (2,)),  # xaaz, page 25
        (3, (3,)),  # xaba, page 26
        (4, (4,)),  # xbaa, page 676
    ]
    assert skipped == []


def test_tested_on_all_others_and_never_on_the_support_set(file):
    splits, _ = named_splits(load_selections(file(PUBLISHED)), EM, [1, 3])
    for split in splits:
        assert sorted(split.support + split.test) == list(range(5))
    fewer, _ = named_splits(load_selections(file(PUBLISHED)), EM, [1, 3], n_test=2)
    for split in fewer:
        assert len(split.test) == 2
        assert not set(split.test) & set(split.support)


def test_a_selection_with_images_that_are_not_there_is_left_out_and_named(file):
    splits, skipped = named_splits(load_selections(file(PUBLISHED)), EM, [3])
    assert [split.selection for split in splits] == [1]
    assert skipped == [
        "selection 2 of K = 3 is skipped: EM here has no xabb, xabc.",
        "selection 3 of K = 3 is skipped: it names 2 images.",
    ]
    sections = target("ssTEM", ["05", "06"])
    splits, skipped = named_splits(load_selections(file(PUBLISHED)), sections, [1])
    assert [split.support for split in splits] == [(1,)]
    assert skipped == ["selection 10 of K = 1 is skipped: ssTEM here has no image1."]


def test_numbers_in_order_not_as_text(file):
    content = {"A": {"1": {str(i): ["a"] for i in (1, 10, 2)}}}
    splits, _ = named_splits(load_selections(file(content)), target("A", ["a", "b"]), [1])
    assert [split.selection for split in splits] == [1, 2, 10]


def test_outside_em_such_names_are_names(file):
    content = {"own": {"1": {"1": ["xaaa"]}}}
    splits, _ = named_splits(load_selections(file(content)), target("own", ["other", "xaaa"]), [1])
    assert splits[0].support == (1,)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "are not JSON"),
        ([1], "holds no selections; the form is"),
        ({"EM": ["xaaa"]}, "holds no selections"),
        ({"EM": {"one": {"1": ["xaaa"]}}}, "'EM' → 'one' → '1'"),
        ({"EM": {"11": {"1": ["xaaa"]}}}, "'EM' → '11' → '1'"),
        ({"EM": {"1": {"1": "xaaa"}}}, "Selection 1 of EM in .* is not a list of names"),
        ({"EM": {"1": {"1": [1]}}}, "Selection 1 of EM in .* is not a list of names"),
    ],
)
def test_what_is_wrong_with_a_file(file, content, says):
    with pytest.raises(DataError, match=says):
        load_selections(file(content))


def test_no_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_selections(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("name", "stems", "k_shot", "says"),
    [
        ("B5", ["a"], 1, "no selections of B5, only of EM, ssTEM"),
        ("EM", ["test_001"], 5, "no selections of 5 images of EM"),
        ("EM", ["test_100"], 1, "No selection of EM has all its images here"),
    ],
)
def test_nothing_that_can_be_used(file, name, stems, k_shot, says):
    with pytest.raises(DataError, match=says):
        named_splits(load_selections(file(PUBLISHED)), target(name, stems), [k_shot])


def test_seeded_splits_are_those_of_select():
    images = target("own", range(14))
    splits = seeded_splits(images, [1, 5], 3, n_test=2)
    assert [(split.selection, split.k_shot) for split in splits] == [
        (selection, k) for selection in range(3) for k in (1, 5)
    ]
    for split in splits:
        assert (list(split.support), list(split.test)) == select(14, split.k_shot, split.selection, 2)


def test_seeded_splits_need_an_image_to_test_on():
    with pytest.raises(DataError, match="own has 10 annotated images; at least 11"):
        seeded_splits(target("own", range(10)), [1], 1)


def test_the_authors_own_file(source_data):
    """The published file, if it lies beside the data: the selections of each set, and those that it lacks."""
    published = source_data / "authors-selections.json"
    if not published.is_file():
        pytest.skip(f"no selections of the authors in {source_data}")
    selections = load_selections(published)
    assert set(selections) == set(SOURCE_NAMES)
    for name, source in find_sources(source_data, ("ssTEM", "TNBC")).items():
        images = target(name, [image.stem for image, _ in source.pairs])
        splits, skipped = named_splits(selections, images, (1, 3, 5, 7, 10))
        assert len(splits) + len(skipped) == 50
        assert len(skipped) == (2 if name == "ssTEM" else 0)
