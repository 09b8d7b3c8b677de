"""The five source sets: a record of each, and how a set is found and checked on disk.

A set's record holds all facts about it. Downloads, the choices and help of the command lines, and the lists
of the experiment follow from the records. This module imports nothing heavy, so that ``--help`` answers at
once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import DataError

if TYPE_CHECKING:
    from .unpack import Pairs

HOME_VARIABLE = "NAPARI_FEWSHOT_HOME"
SMALLEST_OBJECT = 25  # px²; smaller specks in B39's masks are not nuclei


@dataclass(frozen=True)
class Download:
    """One file to download.

    Attributes
    ----------
    url : str
        Official address.
    filename : str
        Name on disk.
    sha256 : str or None
        The expected checksum; if None, the one recorded at the first download counts.
    """

    url: str
    filename: str
    sha256: str | None = None


@dataclass(frozen=True)
class PublishedSet:
    """Record of a published source set, independent of what is on disk.

    Attributes
    ----------
    description, licence, citation : str
        Text for people, model cards and reports.
    instances : bool
        Whether masks number the objects; otherwise they are 0 and 255.
    separates_touching : bool
        Whether two objects that touch have two numbers. If False, an object of the mask is a connected
        component, which may be several cells.
    official_pairs : int or None
        Number of images with a mask; None allows any number.
    files : tuple of Download
    unpack : callable
        Takes the downloaded files in the order of `files` and yields the pairs. It imports what it needs
        itself.
    """

    description: str
    licence: str
    citation: str
    instances: bool
    separates_touching: bool
    official_pairs: int | None
    files: tuple[Download, ...]
    unpack: Callable[[list[Path]], Pairs]


# --- the layouts of the published archives


def _unpack_b5(files: list[Path]) -> Pairs:
    """19,200 images; the 1,200 in focus have a mask of the same file name."""
    from .unpack import binary, zip_pairs

    pattern = r"(?:.*/)?(SIMCEPImages_[^/]+)\.TIF"
    return zip_pairs(files[0], pattern, files[1], pattern, binary)


def _unpack_b39(files: list[Path]) -> Pairs:
    """Nuclei are the connected components of equal value in the red channel."""
    from .unpack import instances, zip_pairs

    image, truth = r"(?:.*/)?(IXMtest[^/]+)\.tif", r"(?:.*/)?(IXMtest[^/]+)\.png"
    return zip_pairs(files[0], image, files[1], truth, instances)


def _unpack_sstem(files: list[Path]) -> Pairs:
    from .unpack import binary, zip_pairs

    raw, truth = r"(?:.*/)?stack1/raw/([^/]+)\.tif", r"(?:.*/)?stack1/mitochondria/([^/]+)\.png"
    return zip_pairs(files[0], raw, files[0], truth, binary)


def _unpack_em(files: list[Path]) -> Pairs:
    """Two TIFF stacks of equal length; page 0 becomes ``training_001``."""
    from .unpack import binary, stack_pairs

    return stack_pairs(files[0], files[1], binary)


def _unpack_tnbc(files: list[Path]) -> Pairs:
    from .unpack import instances, zip_pairs

    image, truth = r"(?:.*/)?Slide_\d+/([^/]+)\.png", r"(?:.*/)?GT_\d+/([^/]+)\.png"
    return zip_pairs(files[0], image, files[0], truth, instances)


_BBBC = "https://data.broadinstitute.org/bbbc"
_EPFL = "https://documents.epfl.ch/groups/c/cv/cvlab-unit/www/data/%20ElectronMicroscopy_Hippocampus"
_SSTEM_COMMIT = "4a5f051466d24d8dc1e855ab55658bb1b1dcd6bf"

PUBLISHED_SETS: dict[str, PublishedSet] = {
    "B5": PublishedSet(
        "BBBC005, simulated fluorescent cells (nuclei and cell bodies)",
        "terms of the Broad Bioimage Benchmark Collection; treat as research use",
        "Ljosa et al., Nature Methods 9, 637 (2012); BBBC005v1; Lehmussola et al., IEEE TMI 26, 1010 (2007)",
        instances=False,
        separates_touching=False,
        official_pairs=1200,
        files=(
            Download(f"{_BBBC}/BBBC005/BBBC005_v1_images.zip", "BBBC005_v1_images.zip"),
            Download(f"{_BBBC}/BBBC005/BBBC005_v1_ground_truth.zip", "BBBC005_v1_ground_truth.zip"),
        ),
        unpack=_unpack_b5,
    ),
    "B39": PublishedSet(
        "BBBC039, fluorescent nuclei (U2OS, Hoechst)",
        "CC0 1.0",
        "Caicedo et al. 2018; Ljosa et al., Nature Methods 9, 637 (2012); BBBC039v1",
        instances=True,
        separates_touching=True,
        official_pairs=200,
        files=(
            Download(f"{_BBBC}/BBBC039/images.zip", "images.zip"),
            Download(f"{_BBBC}/BBBC039/masks.zip", "masks.zip"),
        ),
        unpack=_unpack_b39,
    ),
    "ssTEM": PublishedSet(
        "mitochondria in Drosophila nerve cord, serial-section TEM",
        "CC BY-NC-SA 3.0",
        "Gerhard et al., figshare (2013), doi:10.6084/m9.figshare.856713",
        instances=False,
        separates_touching=False,
        official_pairs=20,
        files=(
            Download(
                f"https://github.com/unidesigner/groundtruth-drosophila-vnc/archive/{_SSTEM_COMMIT}.zip",
                "groundtruth-drosophila-vnc.zip",
            ),
        ),
        unpack=_unpack_sstem,
    ),
    "EM": PublishedSet(
        "mitochondria in hippocampus CA1, FIB-SEM, training stack",
        "research use, cite (EPFL CVLab)",
        "Lucchi et al., IEEE TMI 31, 474 (2012)",
        instances=False,
        separates_touching=False,
        official_pairs=165,
        files=(
            Download(f"{_EPFL}/training.tif", "training.tif"),
            Download(f"{_EPFL}/training_groundtruth.tif", "training_groundtruth.tif"),
        ),
        unpack=_unpack_em,
    ),
    "TNBC": PublishedSet(
        "nuclei in H&E-stained breast cancer",
        "CC BY 4.0 according to Zenodo; not verified",
        "Naylor et al., IEEE TMI 38, 448 (2019), doi:10.5281/zenodo.1175282",
        instances=True,
        separates_touching=False,
        official_pairs=50,
        files=(
            Download(
                "https://zenodo.org/records/1175282/files/TNBC_NucleiSegmentation.zip",
                "TNBC_NucleiSegmentation.zip",
            ),
        ),
        unpack=_unpack_tnbc,
    ),
}
"""Records by name, in the order of the paper."""

SOURCE_NAMES = PUBLISHED_SETS.keys()
"""A live view: sets that are registered later appear in it."""


# --- on disk


@dataclass(frozen=True)
class SourceSet:
    """One source set on disk: a *task* and a *domain* of meta-training.

    Attributes
    ----------
    name : str
        One of `SOURCE_NAMES`, or the owner's name for it.
    description, licence, citation : str
        For people, model cards and reports.
    folder : Path
        Holds ``images`` and ``masks``.
    pairs : tuple of (image, mask)
        Paths, sorted by stem. In masks, everything above 0 is foreground.
    instances : bool
        Whether masks number the objects; otherwise objects are connected components.
    separates_touching : bool
        Whether two objects that touch have two numbers.
    """

    name: str
    description: str
    licence: str
    citation: str
    folder: Path
    pairs: tuple[tuple[Path, Path], ...]
    instances: bool
    separates_touching: bool


@dataclass(frozen=True)
class SourceSummary:
    """Measurements of some evenly spread pairs of a set."""

    image_size: str  # "height×width"; all sizes if they differ
    dtype: str
    median_diameter: float  # px, of objects of at least 25 px²; NaN without objects
    foreground: float  # share of the pixels, 0 to 1


def data_folder() -> Path:
    """Folder of the fetched sets: below NAPARI_FEWSHOT_HOME if set, else in the user's data folder."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return Path(home) / "sources"
    import platformdirs

    return platformdirs.user_data_path("napari-fewshot-cells") / "sources"


def sources_present(data: Path) -> tuple[str, ...]:
    """Names of the source sets that have a folder in `data`."""
    return tuple(name for name in SOURCE_NAMES if (data / name).is_dir())


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names without repetition, in the order of `SOURCE_NAMES`; raises `DataError` if one is unknown."""
    wanted = set(names)
    unknown = sorted(wanted - set(SOURCE_NAMES))
    if unknown:
        raise DataError(f"There is no source set '{unknown[0]}'; choose from {', '.join(SOURCE_NAMES)}.")
    return tuple(name for name in SOURCE_NAMES if name in wanted)


def find_sources(data: Path, names: Iterable[str] = SOURCE_NAMES) -> dict[str, SourceSet]:
    """Find the source sets in a folder laid out as ``<set>/{images,masks}/NAME.png``; pairs have equal stems.

    Parameters
    ----------
    data
        Folder of the sets.
    names
        Names of the sets that must be there.

    Returns
    -------
    dict of name to SourceSet, in the order of `SOURCE_NAMES`.

    Raises
    ------
    DataError
        The folder or a set is missing, an image or a mask has no partner, the sizes of a pair differ, or a
        file is damaged. The message names the file.
    """
    data = Path(data)
    if not data.is_dir():
        raise DataError(f"There is no folder '{data}'; fetch the sets or give their folder with --data.")
    return {name: _find_source(data, name) for name in check_names(names)}


def summarise(source: SourceSet, most: int = 24) -> SourceSummary:
    """Measure image size, dtype, object diameter and foreground share on up to `most` evenly spread pairs."""
    import numpy as np
    from skimage.measure import label

    from ..data.image_files import read_labels, read_pixels

    chosen = np.unique(np.linspace(0, len(source.pairs) - 1, most).round().astype(int))
    sizes: set[tuple[int, int]] = set()
    kinds: set[str] = set()
    areas: list[int] = []
    shares: list[float] = []
    for i in chosen:
        image, mask = source.pairs[i]
        pixels = read_pixels(image)
        sizes.add((pixels.shape[0], pixels.shape[1]))
        kinds.add(f"{pixels.dtype}" + (" RGB" if pixels.ndim == 3 else ""))
        labels = read_labels(mask)
        shares.append(float((labels > 0).mean()))
        objects = labels if source.instances else label(labels > 0)
        area = np.bincount(objects.ravel())[1:]
        areas.extend(int(a) for a in area[area >= SMALLEST_OBJECT])
    return SourceSummary(
        image_size=", ".join(f"{h}×{w}" for h, w in sorted(sizes)),
        dtype=", ".join(sorted(kinds)),
        median_diameter=float(np.median(2 * np.sqrt(np.array(areas) / np.pi))) if areas else float("nan"),
        foreground=float(np.mean(shares)),
    )


def _find_source(data: Path, name: str) -> SourceSet:
    folder, facts = data / name, PUBLISHED_SETS[name]
    for part in (folder, folder / "images", folder / "masks"):
        if not part.is_dir():
            raise DataError(
                f"The source set {name} is incomplete: there is no folder '{part}'; fetch it or give --data."
            )
    images, masks = _by_stem(folder / "images"), _by_stem(folder / "masks")
    for here, there, what in ((masks, images, "image"), (images, masks, "mask")):
        lonely = sorted(here.keys() - there.keys())
        if lonely:
            raise DataError(f"'{here[lonely[0]]}' has no {what} of the same name ({len(lonely)} such files).")
    if not masks:
        raise DataError(f"The source set {name} in '{folder}' holds no PNG files; fetch it again.")
    pairs = tuple((images[stem], masks[stem]) for stem in sorted(masks))
    for image, mask in pairs:
        size, mask_size = _size(image), _size(mask)
        if size != mask_size:
            raise DataError(
                f"'{mask}' is {mask_size[1]}×{mask_size[0]} px but its image is {size[1]}×{size[0]} px; "
                "fetch the set again."
            )
    return SourceSet(
        name,
        facts.description,
        facts.licence,
        facts.citation,
        folder,
        pairs,
        facts.instances,
        facts.separates_touching,
    )


def _by_stem(folder: Path) -> dict[str, Path]:
    return {f.stem: f for f in folder.iterdir() if f.suffix == ".png" and not f.name.startswith(".")}


def _size(file: Path) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(file) as image:  # reads only the header
            return image.size
    except OSError as error:
        raise DataError(f"'{file}' cannot be read as an image; replace it or fetch the set again.") from error
