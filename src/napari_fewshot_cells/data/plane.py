"""Convert arrays to grey float planes; normalise and rescale planes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.errors import ImageError

SMALLEST_SIDE = 16
"""Pixels; less than half a cell at the networks' scale."""


LUMA = (0.2125, 0.7154, 0.0721)
"""Weights of red, green and blue in a grey value, as in skimage.color.rgb2gray (Rec. 709)."""

PERCENTILES = (0.5, 99.8)
"""Percentiles of the grey values that `normalise` maps to 0 and 1."""

_MOST_SAMPLES = 2_000_000

FloatImage = NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Plane:
    """One grey image plane.

    Attributes
    ----------
    name : str
        Name of the layer or file.
    pixels : ndarray, float32, (H, W)
        Grey values in the units of the source; finite, not all the same.
    colour : ndarray, (H, W, C), optional
        The channels that the grey values were computed from, in the source's dtype: red, green and blue, or a
        microscope's channels.
    """

    name: str
    pixels: FloatImage
    colour: NDArray[np.generic] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.pixels.shape
        return height, width


def to_plane(array: object, name: str, *, rgb: bool | None = None, channels: bool = False) -> Plane:
    """Convert an array of any dtype to a grey plane.

    Parameters
    ----------
    array : array_like, (H, W) grey, or (H, W, 3) RGB, or (H, W, 4) RGBA, or (H, W, C) channels
        Bool, integer or float. Colour becomes grey by Rec. 709 luma, channels by their mean; alpha is
        ignored.
    name : str
        Used in error messages.
    rgb : bool, optional
        Whether the last axis is colour. By default it is if the array is 3-D and that axis has length 3 or 4.
    channels : bool
        Whether the last axis is a microscope's channels, whatever its length.

    Raises
    ------
    ImageError
        The array is not one plane, a side is shorter than 16 pixels, a value is NaN or infinite, or all
        values are equal.
    """
    values = np.asarray(array)
    if values.dtype.kind not in "buif":
        raise ImageError(f"'{name}' holds {values.dtype} values; convert it to integers or floats.")
    if rgb is None:
        rgb = not channels and values.ndim == 3 and values.shape[-1] in (3, 4)
    if values.ndim != (3 if rgb or channels else 2):
        raise stack_error(values.shape, name)
    if min(values.shape[:2]) < SMALLEST_SIDE:
        raise ImageError(f"'{name}' is {values.shape[0]}×{values.shape[1]} px; at least 16×16 px are needed.")
    pixels = values.astype(np.float32)
    colour = values if channels else values[..., :3] if rgb else None
    bad = int(np.size(pixels) - np.count_nonzero(np.isfinite(pixels)))
    if bad:
        raise ImageError(f"'{name}' holds {bad} NaN or infinite values; replace them and try again.")
    if rgb:
        pixels = pixels[..., :3] @ np.array(LUMA, np.float32)
    elif channels:
        pixels = pixels.mean(axis=-1)
    if float(pixels.min()) == float(pixels.max()):
        raise ImageError(f"'{name}' is constant (every pixel is {pixels.flat[0]:g}): nothing to see.")
    return Plane(name, pixels, colour)


def stack_error(shape: tuple[int, ...], name: str) -> ImageError:
    """The error for an array that is not one plane."""
    return ImageError(
        f"'{name}' has {len(shape)} dimensions {shape}; "
        "one 2-D plane is needed: choose a plane of the stack, or split the file."
    )


def normalise(plane: Plane) -> FloatImage:
    """Scale a plane as the networks expect it: two percentiles become 0 and 1, then (x − 0.5) / 0.5.

    Percentiles 0.5 and 99.8 replace the paper's fixed range, so that camera offset, bit depth and single
    bright specks do not matter. Before the last step, values are clipped to [−1, 2].

    Returns
    -------
    ndarray, float32, (H, W)
    """
    step = max(1, int(np.ceil(np.sqrt(plane.pixels.size / _MOST_SAMPLES))))
    low, high = np.percentile(plane.pixels[::step, ::step], PERCENTILES)
    if high <= low:  # sparse image: nearly all pixels are equal
        low, high = plane.pixels.min(), plane.pixels.max()
    unit = (plane.pixels - np.float32(low)) / np.float32(high - low)
    result: FloatImage = ((np.clip(unit, -1, 2) - 0.5) / 0.5).astype(np.float32)
    return result


def rescale(image: FloatImage, factor: float) -> FloatImage:
    """Resize an image by `factor` with bilinear interpolation, low-pass filtered if it shrinks.

    Returns
    -------
    ndarray, float32, (round(H * factor), round(W * factor)), at least 8 px a side
    """
    if factor == 1:
        return image
    height, width = (max(8, round(side * factor)) for side in image.shape)
    # Pillow widens its filter as the image shrinks; this takes a tenth of the time of a Gaussian and a warp
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resized, dtype=np.float32)
