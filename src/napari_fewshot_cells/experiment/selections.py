"""Which images of a target are annotated and which are tested on: seeded, or as published by others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..base.errors import DataError
from ..data.support_set import MOST_SHOTS
from ..training.episodes import Task
from .few_shot_test import select

Selections = Mapping[str, Mapping[int, Mapping[int, tuple[str, ...]]]]
"""Target → K → number of the selection → stems of its image files."""


@dataclass(frozen=True)
class Split:
    """The images of a target for one fine-tuning, and those for its test.

    Attributes
    ----------
    k_shot, selection : int
    support, test : tuple of int
        Indices into the shots of the target's task.
    """

    k_shot: int
    selection: int
    support: tuple[int, ...]
    test: tuple[int, ...]


def seeded_splits(
    target: Task, k_shots: Iterable[int], n_selections: int, n_test: int | None = None
) -> list[Split]:
    """All splits of `select`, selection by selection.

    Raises
    ------
    DataError
        If the target has no image to test on beyond 10 for the support set.
    """
    if len(target.shots) <= MOST_SHOTS:
        raise DataError(
            f"{target.name} has {len(target.shots)} annotated images; at least {MOST_SHOTS + 1} are needed."
        )
    k_shots, n_images = tuple(k_shots), len(target.shots)
    splits = []
    for selection in range(n_selections):
        for k_shot in k_shots:
            support, test = select(n_images, k_shot, selection, n_test)
            splits.append(Split(k_shot, selection, tuple(support), tuple(test)))
    return splits


def load_selections(file: Path) -> Selections:
    """Read selections of images by name, as the paper's authors published theirs with their code.

    A JSON object: target → K → number of the selection → list of file names without suffix.

    Raises
    ------
    DataError
        If the file is missing, not JSON, or has another form.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"The selections '{file}' cannot be read ({error.strerror}).") from error
    except ValueError as error:  # not JSON, or not UTF-8
        raise DataError(f"The selections '{file}' are not JSON ({error}).") from error
    selections: dict[str, dict[int, dict[int, tuple[str, ...]]]] = {}
    for target, k_shot, selection, names in _leaves(content, file):
        if not k_shot.isdecimal() or not selection.isdecimal() or not 1 <= int(k_shot) <= MOST_SHOTS:
            raise DataError(f"'{file}' holds '{target}' → '{k_shot}' → '{selection}'; {_FORM}")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"Selection {selection} of {target} in '{file}' is not a list of names; {_FORM}")
        selections.setdefault(target, {}).setdefault(int(k_shot), {})[int(selection)] = tuple(names)
    return selections


def named_splits(
    selections: Selections, target: Task, k_shots: Iterable[int], n_test: int | None = None
) -> tuple[list[Split], list[str]]:
    """The splits of published selections, with all other images of the target to test on.

    Parameters
    ----------
    selections
        From `load_selections`.
    target : Task
        Images are identified by the stems of their files. Names in EM may be those of tiffsplit for the pages
        of the official stack: xaaa, xaab, … are our test_001, test_002, ….
    k_shots
    n_test : int, optional
        Test on this many only, drawn with the selection's number as seed.

    Returns
    -------
    splits : list of Split
        Selection by selection.
    skipped : list of str
        A sentence for each selection that names images which are missing or have an empty mask, or more or
        fewer than K images. The authors' file has some of each.

    Raises
    ------
    DataError
        If the target or a K is not in the file, or no selection can be used.
    """
    if target.name not in selections:
        raise DataError(f"There are no selections of {target.name}, only of {', '.join(sorted(selections))}.")
    of_target = selections[target.name]
    index = {Path(shot.plane.name).stem: i for i, shot in enumerate(target.shots)}
    splits, skipped = [], []
    for k_shot in k_shots:
        if k_shot not in of_target:
            raise DataError(f"There are no selections of {k_shot} images of {target.name}.")
        for selection, names in of_target[k_shot].items():
            stem_of = {name: _stem(name, target.name) for name in names}
            if fault := _fault(stem_of, index, k_shot, target.name):
                skipped.append(f"selection {selection} of K = {k_shot} is skipped: {fault}.")
                continue
            support = tuple(index[stem] for stem in stem_of.values())
            rest = sorted(set(range(len(target.shots))).difference(support))
            if n_test is not None:
                rest = np.random.default_rng(selection).permutation(rest)[:n_test].tolist()
            splits.append(Split(k_shot, selection, support, tuple(rest)))
    if not splits:
        raise DataError(f"No selection of {target.name} has all its images here.")
    return sorted(splits, key=lambda split: (split.selection, split.k_shot)), skipped


_FORM = "the form is target → K (1 to 10) → number → names."
_TIFFSPLIT_NAME = re.compile("x[a-z]{3}")


def _leaves(content: object, file: Path) -> Iterator[tuple[str, str, str, object]]:
    for target, of_target in _entries(content, file):
        for k_shot, of_k in _entries(of_target, file):
            for selection, names in _entries(of_k, file):
                yield target, k_shot, selection, names


def _entries(content: object, file: Path) -> Iterable[tuple[str, object]]:
    if not isinstance(content, dict):
        raise DataError(f"'{file}' holds no selections; {_FORM}")
    return content.items()


def _fault(stem_of: Mapping[str, str], index: Mapping[str, int], k_shot: int, target: str) -> str | None:
    missing = [name for name, stem in stem_of.items() if stem not in index]
    if missing:
        return f"{target} here has no {', '.join(missing)}"
    return None if len(stem_of) == k_shot else f"it names {len(stem_of)} images"


def _stem(name: str, target: str) -> str:
    """The stem of our file for a published name; tiffsplit numbers the pages of a stack in base 26."""
    if target != "EM" or not _TIFFSPLIT_NAME.fullmatch(name):
        return name
    page = 0
    for letter in name[1:]:
        page = 26 * page + ord(letter) - ord("a")
    return f"test_{page + 1:03d}"
