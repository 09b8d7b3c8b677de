"""The one list of readers: which files are images, and how each kind of file is read.

The suffix of a file chooses its reader from this list; the content of the file never does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ..base.errors import ImageError


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds.

    Attributes
    ----------
    values : array_like
        Any shape and dtype. The pixels of a Zarr or Dask array are not read yet.
    axes : str
        One letter per axis: T, C, Z, Y, X, S for red, green and blue, or another letter. Empty if the file
        does not name them. Named axes of length 1 are dropped later, but not Y and X.
    channels : tuple of str
        Names of the channels, if the file has some.
    """

    values: Any
    axes: str = ""
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.axes and len(self.axes) != len(self.values.shape):
            raise ValueError(f"it names the axes {self.axes} of {len(self.values.shape)} dimensions")


@dataclass(frozen=True)
class Reader:
    """How one kind of image file is read.

    Attributes
    ----------
    suffixes : tuple of str
        In lower case, with the dot. The longest suffix that ends a file's name chooses the reader. The rest
        of the name is the stem, which names the results.
    read : callable
        Takes the path and returns the `Contents`. It imports its package itself, and may raise any error.
    package : str, optional
        Name under which the required package is imported.
    install : str
        What to pass to pip to install the package.
    is_folder : bool
        Whether an image is a folder, not a file.
    is_lossy : bool
        Whether the format changes pixel values, which makes it unfit for masks.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path], Contents]
    package: str | None = None
    install: str = ""
    is_folder: bool = False
    is_lossy: bool = False

    def __post_init__(self) -> None:
        for suffix in self.suffixes:
            if not suffix.startswith(".") or suffix != suffix.lower():
                raise ValueError(f"A reader's suffix '{suffix}' must be in lower case and begin with a dot.")


def reader_of(path: Path) -> Reader | None:
    """The reader for a path's suffix; the one registered last if several claim the suffix."""
    return _suffix_and_reader(path)[1]


def stem_of(path: Path) -> str:
    """Name of an image's results: the file's name without the suffix that chose its reader."""
    suffix, reader = _suffix_and_reader(path)
    return path.stem if reader is None else path.name[: -len(suffix)]


def known_suffixes() -> tuple[str, ...]:
    """The suffixes of all images."""
    return tuple(dict.fromkeys(suffix for reader in READERS.values() for suffix in reader.suffixes))


def _suffix_and_reader(path: Path) -> tuple[str, Reader | None]:
    name = path.name.lower()
    claims: list[tuple[str, Reader | None]] = [
        (suffix, reader)
        for reader in reversed(READERS.values())
        for suffix in reader.suffixes
        if name.endswith(suffix)
    ]
    return max(claims, key=lambda claim: len(claim[0]), default=("", None))


# --- how each kind is read


def _read_picture(path: Path) -> Contents:
    from skimage import io

    values = io.imread(path)
    return Contents(values, {2: "YX", 3: "YXS"}.get(values.ndim, ""))


def _read_tiff(path: Path) -> Contents:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series, ome = file.series[0], file.ome_metadata
        return Contents(series.asarray(), series.axes, _ome_channels(ome or ""))


def _ome_channels(xml: str) -> tuple[str, ...]:
    try:
        found = ElementTree.fromstring(xml).iterfind(".//{*}Image[1]//{*}Channel")
    except ElementTree.ParseError:  # damaged metadata; the pixels can still be read
        return ()
    return tuple(str(channel.get("Name") or channel.get("ID")) for channel in found)


def _read_zarr(path: Path) -> Contents:
    """The full resolution of an OME-Zarr image, version 0.1 to 0.5."""
    import zarr

    group = zarr.open_group(str(path), mode="r")
    attributes: Any = dict(group.attrs)
    attributes = attributes.get("ome", attributes)
    scales = attributes.get("multiscales")
    if not scales:
        raise ImageError(f"'{path.name}' is no OME-Zarr image: it says nothing of 'multiscales'.")
    values: Any = group[scales[0]["datasets"][0]["path"]]
    # axes are records since version 0.4, names in 0.3, and absent before
    named = scales[0].get("axes") or "TCZYX"[-len(values.shape) :]
    names = [str(axis["name"] if isinstance(axis, dict) else axis).upper() for axis in named]
    axes = "".join(name if name in set("TCZYX") else "Q" for name in names)
    channels = attributes.get("omero", {}).get("channels", [])
    return Contents(values, axes, tuple(str(channel.get("label")) for channel in channels))


def _read_with_bioio(path: Path) -> Contents:
    import bioio

    image = bioio.BioImage(path)
    return Contents(image.dask_data, image.dims.order, tuple(image.channel_names or ()))


def _of_microscope(suffix: str) -> Reader:
    return Reader((suffix,), _read_with_bioio, "bioio", f"bioio and its reader for {suffix} files")


READERS: dict[str, Reader] = {
    "PNG": Reader((".png",), _read_picture),
    "TIFF": Reader((".tif", ".tiff"), _read_tiff),
    "JPEG": Reader((".jpg", ".jpeg"), _read_picture, is_lossy=True),
    "BMP": Reader((".bmp",), _read_picture),
    "OME-Zarr": Reader(
        (".zarr", ".ome.zarr"), _read_zarr, "zarr", "'napari-fewshot-cells[zarr]'", is_folder=True
    ),
    "CZI": _of_microscope(".czi"),
    "DV": _of_microscope(".dv"),
    "IMS": _of_microscope(".ims"),
    "LIF": _of_microscope(".lif"),
    "ND2": _of_microscope(".nd2"),
    "OIB": _of_microscope(".oib"),
    "OIF": _of_microscope(".oif"),
    "VSI": _of_microscope(".vsi"),
}
"""Readers by the name of the format. A new entry is known to every command and to the window."""
