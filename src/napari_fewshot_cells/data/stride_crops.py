"""Overlapping crops at a fixed stride, as in the authors' code, for fine-tuning and transfer learning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from .crops import Batch, Sample, cut_crop


@dataclass(frozen=True, eq=False)
class StrideCrop:
    """Position of one crop: its sample, and its first row and column."""

    sample: Sample
    corner: tuple[int, int]


def stride_windows(sample: Sample, size: int, stride: int, min_foreground: int) -> list[tuple[slice, slice]]:
    """Windows of `size` × `size` pixels every `stride` pixels; the last ones are flush with the border.

    Parameters
    ----------
    sample : Sample
        If a side is shorter than a window, one window spans the whole side; `cut_batch` pads the crop.
    size, stride : int
        Pixels.
    min_foreground : int
        Windows with fewer foreground pixels are dropped. If none remains, the fullest is kept.

    Returns
    -------
    list of (rows, columns)
        At least one.
    """
    height, width = sample.image.shape
    windows = [
        (slice(row, min(row + size, height)), slice(column, min(column + size, width)))
        for row, column in product(_begins(height, size, stride), _begins(width, size, stride))
    ]
    # summed-area table: the sum over a window follows from its four corners
    total = np.zeros((height + 1, width + 1), np.int64)
    total[1:, 1:] = (sample.target * sample.weight > 0).cumsum(axis=0).cumsum(axis=1)
    foreground = [
        total[r.stop, c.stop] - total[r.start, c.stop] - total[r.stop, c.start] + total[r.start, c.start]
        for r, c in windows
    ]
    kept = [window for window, pixels in zip(windows, foreground, strict=True) if pixels >= min_foreground]
    return kept or [windows[int(np.argmax(foreground))]]


def stride_crops(samples: Sequence[Sample], size: int, stride: int, min_foreground: int) -> list[StrideCrop]:
    """The windows of all samples, in order."""
    return [
        StrideCrop(sample, (rows.start, columns.start))
        for sample in samples
        for rows, columns in stride_windows(sample, size, stride, min_foreground)
    ]


def cut_batch(crops: Sequence[StrideCrop], size: int) -> Batch:
    """Cut crops of `size` × `size` pixels; smaller samples are mirrored with weight 0."""
    stacks = np.ascontiguousarray([cut_crop(crop.sample, crop.corner, size) for crop in crops])
    image, target, weight = torch.from_numpy(stacks).unbind(dim=1)
    return Batch(image[:, None], target[:, None], weight[:, None])


def epoch_batches(n_crops: int, batch: int, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """Indices of one epoch: every crop once, in random order, `batch` at a time; the last may be smaller."""
    order = rng.permutation(n_crops)
    return (order[begin : begin + batch] for begin in range(0, n_crops, batch))


def _begins(side: int, size: int, stride: int) -> list[int]:
    last = max(0, side - size)
    return [*range(0, last, stride), last]
