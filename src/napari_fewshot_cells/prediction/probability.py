"""Tiled prediction: the probability of a plane of any size, without seams."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..base.bfloat16 import quick_passes
from ..base.progress import Progress, finish, relay
from ..data.channel_mix import mix_channels
from ..data.plane import FloatImage, Plane, normalise, rescale
from ..models.batch_norm import fused, store_statistics
from ..models.model import Model
from ..models.networks import SegmentationNetwork, knows_contacts
from .border_refinement import HALO, refine_steps

TILE = 512
"""Approximate side of a tile's inner part, in pixels at the network's scale. Prediction can be cancelled
after each tile."""

FLIPS: tuple[tuple[int, ...], ...] = ((), (0, 1), (0,), (1,))
"""Axes to flip for each view of an image: none, both (a turn by 180°), vertical, horizontal."""

_WINDOW_TILE = 1152  # px, side of a tile for windows; one tile, so that no halo is computed twice
_LARGEST_STATISTICS_IMAGE = 1536  # px a side; larger images use the statistics of their middle


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
        In [0, 1]; calibrated so that the decision threshold is 0.5.
    """
    return finish(predict_steps(model, plane, device=device))


@dataclass(frozen=True, eq=False)
class CellMaps:
    """What a model predicts of a plane.

    Attributes
    ----------
    probability : ndarray, float32, (H, W)
        Of foreground, in [0, 1]; the decision threshold is 0.5.
    contact : ndarray, float32, (H, W), or None
        Probability that a pixel of the foreground is between two cells; the decision threshold is 0.5. Its
        values are those of float16, so that it can be kept as such without loss. None: the model cuts
        touching cells by their shape.
    """

    probability: FloatImage
    contact: FloatImage | None = None


def predict_cells(model: Model, plane: Plane, *, device: str = "cpu") -> CellMaps:
    """Foreground and contact of every pixel of a plane; parameters as in `predict`."""
    return finish(cell_steps(model, plane, device=device))


def predict_steps(
    model: Model, plane: Plane, *, device: str = "cpu"
) -> Generator[Progress, None, FloatImage]:
    """As `predict`, tile by tile: yields progress, returns the probability. Closing the generator cancels."""
    return (yield from cell_steps(model, plane, device=device)).probability


def cell_steps(model: Model, plane: Plane, *, device: str = "cpu") -> Generator[Progress, None, CellMaps]:
    """As `predict_cells`, tile by tile: yields progress, returns the maps. Closing the generator cancels."""
    card = model.card
    grey = normalise(mix_channels(plane, card.mix))
    image = rescale(grey, card.factor)
    network = network_for(model, image, device=device)
    contacts = card.contact_logit is not None
    logits, *further = yield from output_steps(
        network, image, contacts=contacts, device=device, views=card.views
    )
    logits = at_full_resolution(logits, card.decision_logit, plane.shape)
    contact = None
    if card.contact_logit is not None:
        contact = to_probability(further[0], card.contact_logit, plane.shape)
        # the window keeps float16; both must decide alike at 0.5
        contact = contact.astype(np.float16).astype(np.float32)
    return CellMaps(_sigmoid((yield from _refined(model, logits, grey))), contact)


def _refined(model: Model, logits: FloatImage, grey: FloatImage) -> Generator[Progress, None, FloatImage]:
    """Logits at full resolution with the model's border refinement; unchanged if the model has none."""
    if model.card.refinement is None:
        return logits
    started = time.perf_counter()
    strips = refine_steps(logits, grey, model.card.refinement)
    return (yield from relay(strips, lambda step: Progress("refining", *step, time.perf_counter() - started)))


def network_input(model: Model, plane: Plane) -> FloatImage:
    """A plane prepared for a model's network: mixed, normalised and at the network's scale."""
    return rescale(normalise(mix_channels(plane, model.card.mix)), model.card.factor)


def network_for(model: Model, image: FloatImage, *, device: str = "cpu") -> SegmentationNetwork:
    """A model's network, with the batch-norm statistics of its input `image` if the card asks for them."""
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
    """Foreground probability of a part of a plane, without predicting all of a large plane.

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
        Equal to that of `predict` with a single view, up to the resampling grid of the scaled image, and up
        to bfloat16 precision on processors with bfloat16 multiplication.
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
    logits = finish(logit_steps(network, scaled, device=device, tile=_WINDOW_TILE, quick=True))
    logits = at_full_resolution(logits, model.card.decision_logit, around.shape)
    probability = _sigmoid(finish(_refined(model, logits, around)))
    inner = tuple(slice(p.start - o.start, p.stop - o.start) for p, o in zip(window, outer, strict=True))
    return np.ascontiguousarray(probability[inner])


def to_probability(logits: FloatImage, decision_logit: float, shape: tuple[int, int]) -> FloatImage:
    """Convert logits at the network's scale to calibrated probabilities at the image's; float32, `shape`."""
    return _sigmoid(at_full_resolution(logits, decision_logit, shape))


def at_full_resolution(logits: FloatImage, decision_logit: float, shape: tuple[int, int]) -> FloatImage:
    """Convert logits at the network's scale to logits at the image's, above 0 for foreground."""
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
    """Foreground logits of a normalised image at the network's scale; see `output_steps`."""
    (logits,) = yield from output_steps(network, image, device=device, tile=tile, views=views, quick=quick)
    return logits


def output_steps(
    network: SegmentationNetwork,
    image: FloatImage,
    *,
    contacts: bool = False,
    device: str = "cpu",
    tile: int = TILE,
    views: int = 1,
    quick: bool = False,
) -> Generator[Progress, None, list[FloatImage]]:
    """Logits of a normalised image at the network's scale: foreground, and contact if it is asked for.

    Tiles overlap by the receptive field and begin at multiples of the network's stride. The result therefore
    equals that of the whole image in one pass.

    Parameters
    ----------
    network : SegmentationNetwork
        Is not changed; its stored batch-norm statistics are used.
    image : ndarray, float32, (H, W)
    contacts : bool
        Also the logits of contact; the network knows them.
    tile : int
        Approximate side of a tile's inner part in pixels; the image is divided into equal tiles of about this
        side.
    views : int
        Number of views to average, the first of `FLIPS`. The result then depends less on a pixel's position
        on the network's grid and on the direction of an edge.
    quick : bool
        Compute in bfloat16 if the processor multiplies bfloat16 natively; precise enough for thresholds,
        previews and scores.

    Returns
    -------
    list of ndarray, float32, (H, W)
    """
    started = time.perf_counter()
    network = fused(network).to(device)
    logits = [np.zeros(image.shape, np.float32) for _ in range(1 + contacts)]
    windows = list(_windows(image.shape, tile, network.receptive_radius, network.stride))
    tiles = [(axes, window) for axes in FLIPS[:views] for window in windows]
    for done, (axes, (outer, inner, place)) in enumerate(tiles):
        yield Progress("predicting", done, len(tiles), time.perf_counter() - started)
        seen = np.flip(image, axes)
        part = torch.from_numpy(np.ascontiguousarray(seen[outer]))[None, None].to(device)
        with torch.inference_mode(), quick_passes(device, wanted=quick):
            part = part.contiguous(memory_format=torch.channels_last)
            if contacts:
                assert knows_contacts(network), "contacts are asked of a network that has them"
                result = network.with_contacts(part)
            else:
                result, _ = network(part)
        for output, found in zip(result[0].float().cpu().numpy(), logits, strict=True):
            np.flip(found, axes)[place] += output[inner] / views
    yield Progress("predicting", len(tiles), len(tiles), time.perf_counter() - started)
    return logits


Window = tuple[slice, slice]


def _windows(
    shape: tuple[int, ...], tile: int, halo: int, stride: int
) -> Iterator[tuple[Window, Window, Window]]:
    """For each tile: the window to read, its part to keep, and the place of that part in the result."""
    height, width = (_tile_side(side, tile, stride) for side in shape)
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


def _tile_side(side: int, tile: int, stride: int) -> int:
    """Side of equal tiles of about `tile`, a multiple of `stride`; a small last tile would be mostly halo."""
    number = max(1, round(side / tile))
    return math.ceil(side / (number * stride)) * stride


def _span(at: int, tile: int, halo: int, side: int) -> tuple[slice, slice, slice]:
    begin, end = max(0, at - halo), min(side, at + tile + halo)
    stop = min(side, at + tile)
    return slice(begin, end), slice(at - begin, stop - begin), slice(at, stop)
