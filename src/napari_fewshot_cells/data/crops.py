"""Sampling and augmenting square crops from annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from .channel_mix import Mix, mix_channels
from .contacts import contact_zone
from .plane import FloatImage, Labels, normalise, rescale
from .support_set import Shot

REACH = 21.0
"""Pixels at the network's scale, three quarters of a cell: unpainted pixels this near may belong to it."""

CONTACT_RADIUS = 2.0
"""Pixels at the network's scale: a pixel this near to two cells is between them."""

HALF_CELL = 14.0
"""Pixels at the network's scale: slightly more than from a stroke through a cell to the cell's border."""


@dataclass(frozen=True, eq=False)
class Sample:
    """An annotated image as the network sees it: normalised, at canonical scale.

    Attributes
    ----------
    image, target, weight : ndarray, float32, (H, W)
        Target is 0 or 1. Weight is 1 for annotated pixels, between 0 and 1 for pseudo-labels, else 0.
    stroked : bool
        Whether cells are annotated by strokes through them; see `support_set.Shot.stroked`.
    agreement : float
        IoU of the strokes with the prediction that gave the pseudo-labels, see `finetune.stroke_outlines`; 0
        without pseudo-labels.
    contact, contact_weight : ndarray, float32, (H, W), optional
        Contact is 1 within `CONTACT_RADIUS` of two annotated cells, else 0. Its weight is 1 in annotated
        cells and in contacts, else 0. None unless `with_contacts` has
        found some.
    """

    image: FloatImage
    target: FloatImage
    weight: FloatImage
    stroked: bool = False
    agreement: float = 0.0
    contact: FloatImage | None = None
    contact_weight: FloatImage | None = None

    @cached_property
    def painted(self) -> NDArray[np.bool_]:
        """Pixels that a person annotated; bool, (H, W)."""
        painted: NDArray[np.bool_] = self.weight == 1
        return painted

    @property
    def outlined(self) -> bool:
        """Whether there are pseudo-labels around the strokes."""
        return self.agreement > 0

    @cached_property
    def annotated(self) -> NDArray[np.intp]:
        """Flat indices of the annotated pixels, pseudo-labels included."""
        return np.flatnonzero(self.weight)

    @cached_property
    def whole(self) -> bool:
        """Whether a person annotated every pixel."""
        return bool(self.painted.all())

    @cached_property
    def unpainted(self) -> FloatImage:
        """1 for unpainted pixels further than `REACH` from every painted cell, else 0; float32, (H, W)."""
        unpainted: FloatImage = ((self.weight == 0) & ~self.near_cells(REACH)).astype(np.float32)
        return unpainted

    def near_cells(self, reach: float) -> NDArray[np.bool_]:
        """Pixels at most `reach` pixels away from an annotated cell; bool, (H, W)."""
        cells = self.weight * self.target > 0
        return distance_transform_edt(~cells) <= reach if cells.any() else cells

    @property
    def background_near_cells(self) -> float:
        """Share of the painted background within half a cell of painted cells."""
        cells = self.painted & (self.target > 0)
        background = self.painted & (self.target == 0)
        if not (cells.any() and background.any()):
            return 0.0
        return float((distance_transform_edt(~cells)[background] <= HALF_CELL).mean())

    @cached_property
    def foreground(self) -> NDArray[np.intp]:
        """Flat indices of the pixels annotated as cell."""
        return np.flatnonzero(self.weight * self.target)


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops for one step. Each tensor is float32, (N, 1, S, S).

    Attributes
    ----------
    image, target, weight : Tensor
    unpainted : Tensor, optional
        `Sample.unpainted`; 0 for fully annotated images. Only `sample_crops` sets it.
    contact, contact_weight : Tensor, optional
        As in `Sample`; None if no sample has them.
    """

    image: Tensor
    target: Tensor
    weight: Tensor
    unpainted: Tensor | None = None
    contact: Tensor | None = None
    contact_weight: Tensor | None = None


def to_sample(shot: Shot, factor: float, mix: Mix | None = None) -> Sample:
    """Bring a shot to the network's scale.

    Parameters
    ----------
    shot : Shot
    factor : float
        Canonical over actual object diameter.
    mix : tuple of float, optional
        Weights of the channels; by default the plane's grey values are used.
    """
    sample = Sample(normalise(mix_channels(shot.plane, mix)), shot.target, shot.weight, shot.stroked)
    return rescale_sample(sample, factor)


def with_contacts(sample: Sample, cells: Labels) -> Sample:
    """Add where cells touch, at the scale of the sample; unchanged if no two cells touch.

    Parameters
    ----------
    sample : Sample
    cells : ndarray, int32, (H, W)
        Labels of the annotated cells at the image's own scale; 0 elsewhere.
    """
    cells = nearest(cells, sample.image.shape)
    zone = contact_zone(cells, CONTACT_RADIUS)
    if not zone.any():
        return sample
    known = (cells > 0) | zone
    return replace(sample, contact=zone.astype(np.float32), contact_weight=known.astype(np.float32))


def nearest(labels: Labels, shape: tuple[int, ...]) -> Labels:
    """Resize labels without mixing them: each pixel takes the value of the nearest one."""
    if labels.shape == shape:
        return labels
    places = [
        ((np.arange(side) + 0.5) * before / side).astype(int)
        for side, before in zip(shape, labels.shape, strict=True)
    ]
    resized: Labels = labels[np.ix_(*places)]
    return resized


def rescale_sample(sample: Sample, factor: float) -> Sample:
    """Resize image and annotation; if pixels of different annotation merge, the majority decides.

    Contacts have a radius at the network's scale, so they are dropped: `with_contacts` finds them anew.
    """
    if factor == 1:
        return sample
    target = rescale(sample.target * sample.weight, factor)
    weight = rescale(sample.weight, factor)
    annotated = weight >= 0.5
    cell = annotated & (target >= 0.5 * weight)
    return replace(
        sample,
        image=rescale(sample.image, factor),
        target=cell.astype(np.float32),
        weight=annotated.astype(np.float32),
        contact=None,
        contact_weight=None,
    )


def sample_crops(
    samples: Sequence[Sample], n_crops: int, size: int, rng: np.random.Generator, *, augment: bool = True
) -> Batch:
    """Cut `n_crops` crops of `size` × `size` pixels around annotated pixels.

    Samples take turns in random order, so that each image is seen equally often. Every other crop contains a
    foreground pixel if its image has one; the others contain any annotated pixel. Images smaller than a crop
    are mirrored; mirrored pixels have weight 0.

    Parameters
    ----------
    samples : sequence of Sample
    n_crops, size : int
    rng : numpy.random.Generator
    augment : bool
        Flip and rotate by quarter turns, and vary brightness and contrast a little.
    """
    order = np.concatenate([rng.permutation(len(samples)) for _ in range(-(-n_crops // len(samples)))])
    touching = any(sample.contact is not None for sample in samples)
    stacks = []
    for turn in range(n_crops):
        sample = samples[order[turn]]
        corner = _corner(sample, size, rng, foreground=turn % 2 == 0)
        stack = cut_crop(sample, corner, size)
        further = [_cut_unpainted(sample, corner, size)[None]]
        if touching:
            further.append(_cut_contacts(sample, corner, size))
        stack = np.concatenate([stack, *further])
        stacks.append(augment_crop(stack, rng) if augment else stack)
    parts = [part[:, None] for part in torch.from_numpy(np.ascontiguousarray(stacks)).unbind(dim=1)]
    return Batch(*parts)


def _cut_contacts(sample: Sample, corner: tuple[int, int], size: int) -> FloatImage:
    if sample.contact is None or sample.contact_weight is None:
        return np.zeros((2, size, size), np.float32)
    return cut_crop(replace(sample, target=sample.contact, weight=sample.contact_weight), corner, size)[1:]


def _cut_unpainted(sample: Sample, corner: tuple[int, int], size: int) -> FloatImage:
    row, column = corner
    cut = np.zeros((size, size), np.float32)  # mirrored pixels do not count as unpainted
    if not sample.whole:
        inside = sample.unpainted[row : row + size, column : column + size]
        cut[: inside.shape[0], : inside.shape[1]] = inside
    return cut


def _corner(sample: Sample, size: int, rng: np.random.Generator, *, foreground: bool) -> tuple[int, int]:
    inside = sample.foreground if foreground and sample.foreground.size else sample.annotated
    height, width = sample.image.shape
    centre = divmod(int(rng.choice(inside)), width)
    return corner_near(centre, (height, width), size, rng)


def corner_near(
    centre: tuple[int, int], shape: tuple[int, int], size: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Random first row and column of a crop around a pixel.

    The pixel lies in the middle half of the crop, unless the image's border prevents it.

    Parameters
    ----------
    centre, shape : tuple of int
        The pixel, and the image's height and width.
    size : int
        The crop's side in pixels.
    rng : numpy.random.Generator
    """
    corner = [c - int(rng.integers(size // 4, size - size // 4)) for c in centre]
    row, column = (int(np.clip(at, 0, max(0, side - size))) for at, side in zip(corner, shape, strict=True))
    return row, column


def cut_crop(sample: Sample, corner: tuple[int, int], size: int) -> FloatImage:
    """Cut image, target and weight of one crop. Pixels beyond the sample are mirrored and have weight 0.

    Parameters
    ----------
    sample : Sample
    corner : tuple of int
        First row and column, inside the sample.
    size : int
        Side in pixels.

    Returns
    -------
    ndarray, float32, (3, size, size)
    """
    row, column = corner
    window = np.s_[row : row + size, column : column + size]
    stack = np.stack([sample.image[window], sample.target[window], sample.weight[window]])
    missing = [(0, size - side) for side in stack.shape[1:]]
    if any(after for _, after in missing):
        mirrored = np.pad(stack, [(0, 0), *missing], mode="symmetric")
        mirrored[2, stack.shape[1] :, :] = 0
        mirrored[2, :, stack.shape[2] :] = 0
        stack = mirrored
    return stack


def augment_crop(stack: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Flip and rotate by quarter turns, and vary brightness and contrast of the image a little.

    Parameters
    ----------
    stack : ndarray, float32, (C, size, size)
        Image, then target, weight and the like.
    rng : numpy.random.Generator
    """
    turned: NDArray[np.float32] = np.rot90(stack, k=int(rng.integers(4)), axes=(1, 2))
    if rng.random() < 0.5:
        turned = turned[:, :, ::-1]
    turned = turned.copy()
    contrast, brightness = rng.uniform(0.8, 1.25), rng.uniform(-0.2, 0.2)
    turned[0] = turned[0] * np.float32(contrast) + np.float32(brightness)
    return turned
