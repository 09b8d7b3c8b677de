"""Overlays of a segmentation on the truth, as in the paper's Figures 1 and 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

OVERLAY_COLOURS = {
    "true negative": (0, 0, 0),
    "false positive": (255, 0, 0),
    "false negative": (0, 255, 0),
    "true positive": (255, 255, 255),
}
"""The paper's colours, in the order of 2 · truth + predicted. Red and green differ in lightness, too."""


def overlay(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Colours that show where a segmentation is right and wrong.

    Parameters
    ----------
    truth, predicted : (H, W) bool

    Returns
    -------
    (H, W, 3) uint8
        White, black, red and green for true positive, true negative, false positive, false negative.
    """
    palette = np.array(list(OVERLAY_COLOURS.values()), np.uint8)
    colours: NDArray[np.uint8] = palette[_outcome(truth, predicted)]
    return colours


def beside(image: NDArray[np.uint8], truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Image.Image:
    """An image and the overlay of its segmentation, side by side.

    Parameters
    ----------
    image : (H, W) uint8
    truth, predicted : (H, W) bool

    Returns
    -------
    PIL.Image.Image
        With a palette of 252 greys and the four colours: a third of the bytes of RGB.
    """
    greys = np.rint(np.linspace(0, 255, 256 - len(OVERLAY_COLOURS)))
    palette = np.concatenate([np.repeat(greys, 3), np.ravel(list(OVERLAY_COLOURS.values()))]).astype(int)
    grey = np.rint(image * ((len(greys) - 1) / 255))
    pair = Image.fromarray(np.hstack([grey, len(greys) + _outcome(truth, predicted)]).astype(np.uint8))
    pair.putpalette(palette.tolist())
    return pair


def read_overlay(file: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Image, truth and prediction of a stored overlay, each (H, W)."""
    with np.load(file) as stored:
        return stored["image"], stored["truth"], stored["predicted"]


def shrink(pixels: NDArray[Any], longest: int) -> NDArray[Any]:
    """Reduce to a thumbnail. A mask stays a mask: each pixel takes the nearest of the full image."""
    factor = min(1.0, longest / max(pixels.shape))
    height, width = (max(1, round(side * factor)) for side in pixels.shape)
    smooth = Image.Resampling.NEAREST if pixels.dtype == bool else Image.Resampling.BOX
    return np.asarray(Image.fromarray(pixels).resize((width, height), smooth))


def _outcome(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Index of each pixel's colour in `OVERLAY_COLOURS`."""
    return 2 * truth.astype(np.intp) + predicted
