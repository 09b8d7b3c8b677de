"""Domains made from domains: the same objects as another microscope might have shown them.

Reptile learns to adapt to what differs between tasks, and five sets are few tasks. Each episode may therefore
see its sets in looks drawn anew: another gamma, contrast and sharpness, uneven light, and textures that may
differ between objects and background.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..crops import Batch

_PLAIN_SHARE = 0.3
_GRAINS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Look:
    """How one set is shown in one episode. The defaults leave it as it is.

    Attributes
    ----------
    gamma : float
        Exponent of the brightness.
    contrast : float
        Factor of the distance from the crops' mean.
    blur : float
        Standard deviation of a Gaussian in pixels.
    shade : float
        Largest brightness that uneven light adds or takes away.
    grains : tuple of float
        Parts that grains of 1, 2, 4 and 8 px have in the texture; their squares add up to 1.
    cell_texture, background_texture : float
        Standard deviation of the texture in objects and in background.
    """

    gamma: float = 1.0
    contrast: float = 1.0
    blur: float = 0.0
    shade: float = 0.0
    grains: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)
    cell_texture: float = 0.0
    background_texture: float = 0.0


def draw_look(rng: np.random.Generator) -> Look:
    """A look for one set in one episode; three in ten are plain."""
    if rng.random() < _PLAIN_SHARE:
        return Look()
    grains = np.sqrt(rng.dirichlet(np.full(len(_GRAINS), 0.7)))
    cell_texture, background_texture = 0.5 * rng.random(2) ** 2
    return Look(
        gamma=float(np.exp(rng.uniform(-0.6, 0.6))),
        contrast=float(rng.uniform(0.4, 1)),
        blur=float(max(0, rng.uniform(-1, 1.5))),
        shade=float(max(0, rng.uniform(-0.4, 0.4))),
        grains=tuple(map(float, grains)),
        cell_texture=float(cell_texture),
        background_texture=float(background_texture),
    )


def shown(batch: Batch, look: Look, rng: np.random.Generator) -> Batch:
    """The same crops in a look; their annotation stays.

    Parameters
    ----------
    batch : Batch
        Normalised crops.
    look : Look
    rng : numpy.random.Generator
        Of light and texture.
    """
    if look == Look():
        return batch
    image = batch.image
    unit = ((image + 1) / 2).clamp(min=0)
    image = 2 * unit**look.gamma - 1
    mean = image.mean()
    image = mean + look.contrast * (image - mean)
    n, _, height, width = image.shape
    if look.shade:
        image = image + look.shade * _field((n, 1, 2, 2), (height, width), rng)
    amplitude = look.background_texture + (look.cell_texture - look.background_texture) * batch.target
    for part, grain in zip(look.grains, _GRAINS, strict=True):
        coarse = (n, 1, -(-height // grain), -(-width // grain))
        noise = _field(coarse, (height, width), rng)
        image = image + part * amplitude * noise / noise.std()
    if look.blur:
        image = _blurred(image, look.blur)
    return replace(batch, image=image)


def _field(coarse: tuple[int, ...], size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    noise = torch.from_numpy(rng.standard_normal(coarse, dtype=np.float32))
    if coarse[-2:] == size:
        return noise
    return F.interpolate(noise, size=size, mode="bilinear", align_corners=False)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float32) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(image, (radius,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
