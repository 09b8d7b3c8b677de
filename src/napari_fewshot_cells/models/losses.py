"""The three losses of the paper, Eq. 3, 4 and 5, and one for what strokes leave out.

Logits go in, not probabilities, for numerical stability. Sums over pixels Ω are means here, as in the
authors' code: with them α and β keep their meaning at every crop size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def foreground_weight(target: Tensor, weight: Tensor) -> Tensor:
    """The w of Eq. 3: background over foreground pixels, for each image of the batch by itself.

    Only annotated pixels count. An image without foreground has no w; it gets 1, which leaves the plain
    binary cross-entropy of its background. So does an image without background.

    Parameters
    ----------
    target, weight : Tensor, float32, (N, 1, H, W)
        Foreground 0 or 1, and annotated 0 or 1.

    Returns
    -------
    Tensor, float32, (N, 1, 1, 1)
    """
    foreground = (target * weight).sum(dim=(1, 2, 3), keepdim=True)
    background = ((1 - target) * weight).sum(dim=(1, 2, 3), keepdim=True)
    both = (foreground > 0) & (background > 0)
    return torch.where(both, background / foreground.clamp(min=1e-6), torch.ones_like(foreground))


def weighted_bce(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, *, balance: float = 1.0
) -> Tensor:
    """Eq. 3, weighted binary cross-entropy, mean over annotated pixels of an image, then over images.

    L_BCE = −1/|S̃| Σ_(x,y) Σ_ω [ w·y·log y' + (1 − y)·log(1 − y') ],  w = background / foreground of that y.

    Parameters
    ----------
    logits, target : Tensor, float32, (N, 1, H, W)
    weight : Tensor, float32, (N, 1, H, W), optional
        1 where annotated, 0 elsewhere. Pixels of weight 0 get a gradient of exactly zero; images without
        any annotated pixel do not count. All annotated by default.
    balance : float
        Power of w: 1 is Eq. 3, 0 the plain binary cross-entropy.

    Returns
    -------
    Tensor, float32, ()
        Zero where nothing at all is annotated.
    """
    if weight is None:
        weight = torch.ones_like(target)
    w = foreground_weight(target, weight) ** balance
    per_pixel = w * target * F.softplus(-logits) + (1 - target) * F.softplus(logits)
    annotated = weight.sum(dim=(1, 2, 3))
    per_image = (per_pixel * weight).sum(dim=(1, 2, 3)) / annotated.clamp(min=1e-6)
    return per_image.sum() / (annotated > 0).sum().clamp(min=1)


def doubtful_background(logits: Tensor, unpainted: Tensor) -> Tensor:
    """Unpainted pixels taken for background, each as far as the network itself does not see a cell there.

    Mean over the unpainted pixels of an image of −(1 − y')·log(1 − y'), then over images. The factor 1 − y'
    is a weight and has no gradient: strokes leave out most of what looks like a cell and is none, and the
    cells that were left out as well must not be unlearnt (soft bootstrapping, Reed et al., "Training deep
    neural networks on noisy labels with bootstrapping", 2015, of the background class alone).

    Parameters
    ----------
    logits : Tensor, float32, (N, 1, H, W)
    unpainted : Tensor, float32, (N, 1, H, W)
        1 where nothing is known, 0 elsewhere. An image without such pixels adds zero.
    """
    background = torch.sigmoid(-logits.detach())
    per_pixel = background * F.softplus(logits) * unpainted
    per_image = per_pixel.sum(dim=(1, 2, 3)) / unpainted.sum(dim=(1, 2, 3)).clamp(min=1)
    return per_image.mean()


def entropy_regularisation(logits: Tensor, *, full: bool = False) -> Tensor:
    """Eq. 4, the entropy of predictions on another domain's images, mean over pixels.

    H(y') = −y' log y', the foreground term alone, as printed.

    Parameters
    ----------
    logits : Tensor, float32, (N, 1, H, W)
    full : bool
        Add the background term −(1 − y') log(1 − y').
    """
    foreground = torch.sigmoid(logits)
    entropy = foreground * F.softplus(-logits)
    if full:
        entropy = entropy + (1 - foreground) * F.softplus(logits)
    return entropy.mean()


def distillation(latent_m: Tensor, latent_p: Tensor, *, matched: bool = False) -> Tensor:
    """Eq. 5, squared distance between the latent codes of two domains, mean over pairs and elements.

    L_D = 1/(|S̃_m||S̃_p|) Σ_i Σ_j ‖f^l(x_i) − f^l(x_j)‖², over all pairs as printed.

    Parameters
    ----------
    latent_m : Tensor, float32, (M, C, H, W)
    latent_p : Tensor, float32, (P, C, H, W)
    matched : bool
        Pair image i with image i only (needs M = P), as in the authors' code.
    """
    if matched:
        return F.mse_loss(latent_m, latent_p)
    # mean_ij |a_i − b_j|² = mean |a|² + mean |b|² − 2 mean(a)·mean(b): all pairs at the cost of one
    cross = latent_m.mean(dim=0) * latent_p.mean(dim=0)
    return latent_m.square().mean() + latent_p.square().mean() - 2 * cross.mean()
