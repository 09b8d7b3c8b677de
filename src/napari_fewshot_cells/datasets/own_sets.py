"""A lab's own sources: folders of images and masks, used with or instead of the five published sets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..base.errors import DataError, ImageError
from ..base.toml_file import read_toml
from ..base.validation import InvalidError, validated
from ..data.contacts import touching_cells
from ..data.image_files import images_in, read_labels, read_plane
from ..data.plane import Labels
from ..data.readers import known_suffixes, reader_of, stem_of
from .five_sets import (
    SMALLEST_OBJECT,
    SOURCE_NAMES,
    SourceSet,
    SourceSummary,
    data_folder,
    find_sources,
    summarise,
)

FEWEST_IMAGES = 2

_NAME = re.compile(r"\w[\w.+-]*")
_OWN_LICENCE = "as its owner says"


@dataclass(frozen=True)
class Problem:
    """Something that a source's owner should know about it.

    Attributes
    ----------
    text : str
        Names the file, and says what to do unless that is obvious.
    forbids : bool
        Whether the source is unusable until this is put right.
    """

    text: str
    forbids: bool = True


@dataclass(frozen=True)
class Licence:
    """The terms of an own source, as its owner states them."""

    licence: str
    citation: str = ""


@dataclass(frozen=True)
class OwnSource:
    """A lab's source after the check.

    Attributes
    ----------
    source : SourceSet
        Holds the usable pairs.
    problems : tuple of Problem
    summary : SourceSummary or None
        None if no pair is usable.
    """

    source: SourceSet
    problems: tuple[Problem, ...]
    summary: SourceSummary | None

    @property
    def is_usable(self) -> bool:
        """Whether a training can use it."""
        return not any(problem.forbids for problem in self.problems)


def choose_sources(data: Path | None, target: str, own: Sequence[str]) -> list[SourceSet]:
    """The source sets of a training: the five published sets without the target, and a lab's own.

    If there are own sources, the five are used only if `data` is given.

    Parameters
    ----------
    data : Path, optional
        Folder of the five; without own sources, by default the folder of fetched sets.
    target : str
        The one of the five to leave out; any other name leaves none out.
    own : sequence of str
        ``NAME=DIR`` or ``DIR``.

    Raises
    ------
    DataError
        A source is missing or unusable, two have the same name, or the target is one of the five although
        they are not used.
    """
    mine = [_usable(check_source(text)) for text in own]
    names = [source.name for source in mine]
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                f"Two sources are called '{name}'; give them different names with --sources NAME=DIR."
            )
    if mine and data is None:
        if target in SOURCE_NAMES:
            raise DataError(
                f"--target {target} leaves out one of the five sets, but --sources alone uses none of them; "
                "give --data too."
            )
        return mine
    wanted = [name for name in SOURCE_NAMES if name != target]
    return [*find_sources(data or data_folder(), wanted).values(), *mine]


def choose_touching_sources(
    data: Path | None, target: str, own: Sequence[str], licences: Path | None = None
) -> list[SourceSet]:
    """The source sets of `choose_sources` whose masks separate cells that touch.

    Those of the five that do not are left out.

    Parameters
    ----------
    data, target, own
        As in `choose_sources`.
    licences : Path, optional
        TOML file with a table for each own source: ``NAME = {licence = "…", citation = "…"}``. Tables of
        other names are ignored.

    Raises
    ------
    DataError
        As in `choose_sources`; or the masks of an own source separate nothing, or no set is left.
    FewShotError
        The file of licences cannot be used.
    """
    stated = {} if licences is None else _read_licences(licences)
    sources = choose_sources(data, target, own)
    for source in sources:
        if source.name not in SOURCE_NAMES and not source.separates_touching:
            raise DataError(
                f"In the masks of '{source.name}' no two cells touch, so they do not show where cells touch; "
                "give touching cells different numbers, or leave this source out."
            )
    touching = [source for source in sources if source.separates_touching]
    if not touching:
        raise DataError("None of the source sets separates cells that touch; give one with --sources.")
    return [
        replace(source, licence=stated[source.name].licence, citation=stated[source.name].citation)
        if source.name in stated and source.name not in SOURCE_NAMES
        else source
        for source in touching
    ]


def check_source(text: str) -> OwnSource:
    """Read all files of a lab's source and list what is wrong with them.

    Parameters
    ----------
    text : str
        ``NAME=DIR``, or ``DIR`` to name the source after its folder. The folder holds ``images`` and
        ``masks``, paired by stem. In masks, 0 is background and everything above 0 belongs to an object.

    Raises
    ------
    DataError
        The name is invalid, or is that of a published set.
    """
    name, folder = _name_and_folder(text)
    candidates, problems = _pair(folder)
    pairs, numbered, separated = [], False, False
    for image, mask in candidates:
        labels, problem = _check_pair(image, mask)
        if labels is not None:
            pairs.append((image, mask))
            numbered |= len(np.unique(labels)) > 2
            separated |= touching_cells(labels).size > 0
        problems += problem
    if candidates and len(pairs) < FEWEST_IMAGES:
        text = f"Usable images: {len(pairs)}; at least {FEWEST_IMAGES} are needed."
        problems.append(Problem(text))
    source = SourceSet(
        name, f"own source '{name}'", _OWN_LICENCE, "", folder, tuple(pairs), numbered, separated
    )
    summary = summarise(source) if pairs else None
    return OwnSource(source, (*problems, *_suspicious_masks(summary)), summary)


def _read_licences(path: Path) -> dict[str, Licence]:
    licences = {}
    for name, table in read_toml(path, "file of licences").items():
        try:
            licences[name] = validated(Licence, table)
        except InvalidError as error:
            raise DataError(f"'{name}' in the file of licences '{path}' cannot be used ({error}).") from error
    return licences


def _name_and_folder(text: str) -> tuple[str, Path]:
    name, equals, rest = text.partition("=")
    folder = Path(rest) if equals and not Path(text).is_dir() else Path(text)
    if folder == Path(text):
        name = folder.resolve().name
    if not _NAME.fullmatch(name):
        raise DataError(
            f"'{name}' cannot name a source; use only letters, digits and . - _ +: --sources NAME=DIR."
        )
    if name in SOURCE_NAMES:
        raise DataError(
            f"'{name}' is a published set; use it with --data, or give yours another name: "
            f"--sources NAME={folder}."
        )
    return name, folder


def _usable(own: OwnSource) -> SourceSet:
    if not own.is_usable:
        texts = [problem.text for problem in own.problems if problem.forbids]
        check = f"napari-fewshot-train data --sources {own.source.name}={own.source.folder}"
        more = f" And {len(texts) - 1} more: {check} lists them." if len(texts) > 1 else ""
        raise DataError(f"The source '{own.source.name}' cannot be used: {texts[0]}{more}")
    return own.source


def _pair(folder: Path) -> tuple[list[tuple[Path, Path]], list[Problem]]:
    """Pair images and masks by stem, and list what is wrong with their names."""
    for part in (folder, folder / "images", folder / "masks"):
        if not part.is_dir():
            text = f"There is no folder '{part}'; a source is a folder that holds images/ and masks/."
            return [], [Problem(text)]
    image_of, problems = _by_stem(folder / "images")
    mask_of, more = _by_stem(folder / "masks", masks=True)
    problems += more
    for stem in sorted(mask_of.keys() - image_of.keys()):
        problems.append(
            Problem(f"'{_short_path(mask_of[stem])}' has no image of the same name; rename or remove it.")
        )
    lonely = [image_of[stem].name for stem in sorted(image_of.keys() - mask_of.keys())]
    if lonely:
        problems.append(
            _note(f"Images without a mask of the same name are not used: {_first_names(lonely)}.")
        )
    pairs = [(image_of[stem], mask_of[stem]) for stem in sorted(image_of.keys() & mask_of.keys())]
    if not pairs:
        text = f"'{folder}' holds no image with a mask of the same name ({', '.join(known_suffixes())})."
        problems.append(Problem(text))
    return pairs, problems


def _by_stem(folder: Path, *, masks: bool = False) -> tuple[dict[str, Path], list[Problem]]:
    images = images_in(folder)
    lossy = [file for file in images if masks and (reader := reader_of(file)) and reader.is_lossy]
    named: dict[str, Path] = {}
    problems = []
    if lossy:
        names = _first_names([file.name for file in lossy])
        problems.append(_note(f"Masks whose format changes their values are not used: {names}."))
    for file in (image for image in images if image not in lossy):
        stem = stem_of(file)
        if stem in named:
            both = f"'{_short_path(named[stem])}' and '{_short_path(file)}'"
            problems.append(Problem(f"{both} have the same name; remove one of them."))
        named[stem] = file
    files = {file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")}
    others = sorted(file.name for file in files.difference(images))
    if others:
        problems.append(
            _note(f"Files in {folder.name}/ that are not images are not used: {_first_names(others)}.")
        )
    return named, problems


def _check_pair(image: Path, mask: Path) -> tuple[Labels | None, list[Problem]]:
    """The labels if the pair is usable, and what is wrong with it."""
    problems = []
    shape, labels = None, None
    try:
        shape = read_plane(image, _short_path(image)).shape
    except ImageError as error:
        problems.append(_fault(error, image))
    try:
        labels = read_labels(mask, _short_path(mask))
    except ImageError as error:
        problems.append(_fault(error, mask))
    if shape is None or labels is None:
        return None, problems
    if labels.shape != shape:
        ours, theirs = (f"{height}×{width} px" for height, width in (labels.shape, shape))
        return None, [
            Problem(f"'{_short_path(mask)}' is {ours} but its image is {theirs}; make them the same size.")
        ]
    if not labels.any():
        return None, [_note(f"'{_short_path(mask)}' is empty; its image is not used.")]
    if labels.all():
        return None, [Problem(f"'{_short_path(mask)}' marks every pixel as an object; background must be 0.")]
    return labels, []


def _suspicious_masks(summary: SourceSummary | None) -> list[Problem]:
    """Notes on usable sources that look like mistakes."""
    if summary is None:
        return []
    notes = []
    if np.isnan(summary.median_diameter):
        notes.append(_note(f"No object is as large as {SMALLEST_OBJECT} px²: are these the right masks?"))
    if summary.foreground > 0.5:
        share = f"{summary.foreground:.0%}"
        notes.append(_note(f"{share} of the pixels belong to objects: are the masks inverted?"))
    return notes


def _fault(error: ImageError, file: Path) -> Problem:
    text = str(error)
    return Problem(text if _short_path(file) in text else f"In {file.parent.name}/: {text}")


def _note(text: str) -> Problem:
    return Problem(text, forbids=False)


def _short_path(file: Path) -> str:
    """``images/NAME.png``: the folder distinguishes an image from the mask of the same stem."""
    return f"{file.parent.name}/{file.name}"


def _first_names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
