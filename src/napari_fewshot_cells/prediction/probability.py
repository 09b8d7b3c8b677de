"""Tiled prediction: a plane of any size becomes a probability image without seams."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Iterator

import numpy as np
import torch

from ..base.bfloat16 import quick_passes
from ..base.progress import Progress, finish
from ..data.channel_mix import mix_channels
from ..data.plane import FloatImage, Plane, normalise, rescale
from ..models.batch_norm import fused, store_statistics
from ..models.model import Model
from ..models.networks import SegmentationNetwork
from .border_refinement import HALO, refine_steps

TILE = 512
"""About the side of a tile's inner part at the network's scale; Cancel is looked at after each."""

FLIPS: tuple[tuple[int, ...], ...] = ((), (0, 1), (0,), (1,))
"""Axes that are mirrored in each view of an image: as it is, turned by 180°, upside down, left to right."""

_WHOLE = 1152  # side of a tile for windows: no halo is computed twice
_LARGEST_STATISTICS_IMAGE = 1536  # px a side; beyond it the middle of the image speaks for all of it


def predict(model: Model, plane: Plane, *, device: str = "cpu") -> FloatImage:
    """Foreground probability of every pixel of a plane.

    Parameters
    ----------
    model : Model
    plane : Plane
    device : str
        "cpu", "cuda" or "mps".

    Returns
    -------
    ndarray, float32, (H, W)
        In [0, 1]; calibrated so that the decision lies at 0.5.
    """
    return finish(predict_steps(model, plane, device=device))


def predict_steps(
    model: Model, plane: Plane, *, device: str = "cpu"
) -> Generator[Progress, None, FloatImage]:
    """As `predict`, tile by tile: yields progress, returns the probability. Closing it cancels."""
    grey = normalise(mix_channels(plane, model.card.mix))
    image = rescale(grey, model.card.factor)
    network = network_for(model, image, device=device)
    logits = yield from logit_steps(network, image, device=device, views=model.card.views)
    logits = at_full_resolution(logits, model.card.decision_logit, plane.shape)
    return _sigmoid((yield from _refined(model, logits, grey)))


def _refined(model: Model, logits: FloatImage, grey: FloatImage) -> Generator[Progress, None, FloatImage]:
    """What the model's refinement makes of logits at full resolution; nothing where it has none."""
    if model.card.refinement is None:
        return logits
    started = time.perf_counter()
    strips = refine_steps(logits, grey, model.card.refinement)
    while True:
        try:
            done, total = next(strips)
        except StopIteration as end:
            refined: FloatImage = end.value
            return refined
        yield Progress("refining", done, total, time.perf_counter() - started)


def as_seen(model: Model, plane: Plane) -> FloatImage:
    """A plane as a model's network is to see it: mixed, normalised and at the network's scale."""
    return rescale(normalise(mix_channels(plane, model.card.mix)), model.card.factor)


def network_for(model: Model, image: FloatImage, *, device: str = "cpu") -> SegmentationNetwork:
    """A model's network with the batch-norm statistics that its card asks for on an image; see `as_seen`."""
    network = model.network
    if model.card.batch_norm == "image":
        network = copy.deepcopy(network)
        middle = tuple(slice(max(0, (n - _LARGEST_STATISTICS_IMAGE) // 2), None) for n in image.shape)
        part = image[middle][:_LARGEST_STATISTICS_IMAGE, :_LARGEST_STATISTICS_IMAGE]
        store_statistics(network.to(device), [torch.from_numpy(part.copy())[None, None].to(device)])
    return network


def predict_window(
    model: Model, image: FloatImage, window: tuple[slice, slice], *, device: str = "cpu"
) -> FloatImage:
    """Foreground probability of a part of a plane, soon done where the plane is large.

    Parameters
    ----------
    model : Model
    image : ndarray, float32, (H, W)
        The whole plane, mixed and normalised.
    window : tuple of slice
        Rows and columns, inside the plane, not empty.

    Returns
    -------
    ndarray, float32, (rows, columns) of the window
        As `predict` gives them from a single view, but for how the pixels of the scaled image fall, and in
        bfloat16 where the processor multiplies it itself.
    """
    factor = model.card.factor
    margin = max(HALO, int(np.ceil(model.network.receptive_radius / factor)))
    outer = tuple(
        slice(max(0, part.start - margin), min(side, part.stop + margin))
        for part, side in zip(window, image.shape, strict=True)
    )
    around = np.ascontiguousarray(image[outer])
    scaled = rescale(around, factor)
    network = network_for(model, scaled, device=device)
    logits = finish(logit_steps(network, scaled, device=device, tile=_WHOLE, quick=True))
    logits = at_full_resolution(logits, model.card.decision_logit, around.shape)
    probability = _sigmoid(finish(_refined(model, logits, around)))
    inner = tuple(slice(p.start - o.start, p.stop - o.start) for p, o in zip(window, outer, strict=True))
    return np.ascontiguousarray(probability[inner])


def to_probability(logits: FloatImage, decision_logit: float, shape: tuple[int, int]) -> FloatImage:
    """Logits at the network's scale become calibrated probabilities at the image's; float32, `shape`."""
    return _sigmoid(at_full_resolution(logits, decision_logit, shape))


def at_full_resolution(logits: FloatImage, decision_logit: float, shape: tuple[int, int]) -> FloatImage:
    """Logits at the network's scale become logits at the image's, above 0 where there is foreground."""
    tensor = torch.from_numpy(logits)[None, None]
    if logits.shape != shape:
        tensor = torch.nn.functional.interpolate(tensor, size=shape, mode="bilinear", align_corners=False)
    decided: FloatImage = (tensor - decision_logit)[0, 0].numpy()
    return decided


def _sigmoid(logits: FloatImage) -> FloatImage:
    probability: FloatImage = torch.sigmoid(torch.from_numpy(logits)).numpy()
    return probability


def logit_steps(
    network: SegmentationNetwork,
    image: FloatImage,
    *,
    device: str = "cpu",
    tile: int = TILE,
    views: int = 1,
    quick: bool = False,
) -> Generator[Progress, None, FloatImage]:
    """Logits of a normalised image at the network's scale.

    Tiles overlap by the receptive field and begin at multiples of the network's stride, so that the result
    is that of the whole image at once.

    Parameters
    ----------
    network : SegmentationNetwork
        Stays untouched; its stored batch-norm statistics are used.
    image : ndarray, float32, (H, W)
    tile : int
        About the side of a tile's inner part: as many tiles of one size as come nearest to it.
    views : int
        Mean over the image in the first so many of `FLIPS`: a pixel's place on the network's grid, and which
        way an edge runs, then matter less.
    quick : bool
        In bfloat16 where the processor multiplies it itself: enough for thresholds, previews and scores.

    Returns
    -------
    ndarray, float32, (H, W)
    """
    started = time.perf_counter()
    network = fused(network).to(device)
    logits = np.zeros(image.shape, np.float32)
    windows = list(_windows(image.shape, tile, network.receptive_radius, network.stride))
    tiles = [(axes, window) for axes in FLIPS[:views] for window in windows]
    for done, (axes, (outer, inner, place)) in enumerate(tiles):
        yield Progress("predicting", done, len(tiles), time.perf_counter() - started)
        seen, found = np.flip(image, axes), np.flip(logits, axes)
        part = torch.from_numpy(np.ascontiguousarray(seen[outer]))[None, None].to(device)
        with torch.inference_mode(), quick_passes(device, wanted=quick):
            result, _ = network(part.contiguous(memory_format=torch.channels_last))
        found[place] += result[0, 0].float().cpu().numpy()[inner] / views
    yield Progress("predicting", len(tiles), len(tiles), time.perf_counter() - started)
    return logits


Window = tuple[slice, slice]


def _windows(
    shape: tuple[int, ...], tile: int, halo: int, stride: int
) -> Iterator[tuple[Window, Window, Window]]:
    """What to read, what to keep of it, and where that goes, for each tile."""
    height, width = (_even(side, tile, stride) for side in shape)
    for row in range(0, shape[0], height):
        for column in range(0, shape[1], width):
            outer, inner, place = zip(
                *(
                    _span(at, length, halo, side)
                    for at, length, side in zip((row, column), (height, width), shape, strict=True)
                ),
                strict=True,
            )
            yield outer, inner, place


def _even(side: int, tile: int, stride: int) -> int:
    """Multiple of `stride` that cuts a side into equal parts of about `tile`: halos are computed twice."""
    number = max(1, round(side / tile))
    return math.ceil(side / (number * stride)) * stride


def _span(at: int, tile: int, halo: int, side: int) -> tuple[slice, slice, slice]:
    begin, end = max(0, at - halo), min(side, at + tile + halo)
    stop = min(side, at + tile)
    return slice(begin, end), slice(at - begin, stop - begin), slice(at, stop)
