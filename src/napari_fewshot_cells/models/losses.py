"""The three losses of the paper, Eq. 3, 4 and 5, and a loss for unpainted pixels.

All take logits instead of probabilities, for numerical stability. The paper's sums over pixels Ω are means
here, as in the authors' code, so that α and β mean the same at every crop size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def foreground_weight(target: Tensor, weight: Tensor) -> Tensor:
    """The w of Eq. 3: number of background over foreground pixels, for each image of the batch.

    Only annotated pixels count. An image without foreground or without background gets w = 1: its loss is
    the plain binary cross-entropy.

    Parameters
    ----------
    target, weight : Tensor, float32, (N, 1, H, W)
        Whether a pixel is foreground, and whether it is annotated; 0 or 1.

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
    """Eq. 3, weighted binary cross-entropy: mean over the annotated pixels of an image, then over images.

    L_BCE = −1/|S̃| Σ_(x,y) Σ_ω [ w·y·log y' + (1 − y)·log(1 − y') ],  w = background / foreground of that y.

    Parameters
    ----------
    logits, target : Tensor, float32, (N, 1, H, W)
    weight : Tensor, float32, (N, 1, H, W), optional
        1 for annotated pixels, 0 for others; by default all are annotated. The gradient of a pixel of weight
        0 is exactly zero. Images without annotated pixels do not count.
    balance : float
        Power of w: 1 gives Eq. 3, 0 the plain binary cross-entropy.

    Returns
    -------
    Tensor, float32, ()
        Zero if nothing is annotated.
    """
    if weight is None:
        weight = torch.ones_like(target)
    w = foreground_weight(target, weight) ** balance
    per_pixel = w * target * F.softplus(-logits) + (1 - target) * F.softplus(logits)
    annotated = weight.sum(dim=(1, 2, 3))
    per_image = (per_pixel * weight).sum(dim=(1, 2, 3)) / annotated.clamp(min=1e-6)
    return per_image.sum() / (annotated > 0).sum().clamp(min=1)


def doubtful_background(logits: Tensor, unpainted: Tensor) -> Tensor:
    """Pseudo-label unpainted pixels as background, weighted by the network's own background probability.

    Mean of −(1 − y')·log(1 − y') over the unpainted pixels of an image, then over images. Strokes miss most
    of what resembles a cell and is background, so unpainted pixels count as background. They miss cells too,
    which the network must not unlearn, so each pixel has the weight 1 − y'. The weight has no gradient. This
    is soft bootstrapping of the background class alone (Reed et al., "Training deep neural networks on noisy
    labels with bootstrapping", 2015).

    Parameters
    ----------
    logits : Tensor, float32, (N, 1, H, W)
    unpainted : Tensor, float32, (N, 1, H, W)
        1 for unpainted pixels, 0 for others. The loss of an image without unpainted pixels is zero.
    """
    background = torch.sigmoid(-logits.detach())
    per_pixel = background * F.softplus(logits) * unpainted
    per_image = per_pixel.sum(dim=(1, 2, 3)) / unpainted.sum(dim=(1, 2, 3)).clamp(min=1)
    return per_image.mean()


def entropy_regularisation(logits: Tensor, *, full: bool = False) -> Tensor:
    """Eq. 4, the entropy of predictions on images of another domain: mean over pixels.

    H(y') = −y' log y': the foreground term alone, as printed.

    Parameters
    ----------
    logits : Tensor, float32, (N, 1, H, W)
    full : bool
        If True, add the background term −(1 − y') log(1 − y').
    """
    foreground = torch.sigmoid(logits)
    entropy = foreground * F.softplus(-logits)
    if full:
        entropy = entropy + (1 - foreground) * F.softplus(logits)
    return entropy.mean()


def distillation(latent_m: Tensor, latent_p: Tensor, *, matched: bool = False) -> Tensor:
    """Eq. 5, squared distance between the latent codes of two domains: mean over pairs and elements.

    L_D = 1/(|S̃_m||S̃_p|) Σ_i Σ_j ‖f^l(x_i) − f^l(x_j)‖²: over all pairs, as printed.

    Parameters
    ----------
    latent_m : Tensor, float32, (M, C, H, W)
    latent_p : Tensor, float32, (P, C, H, W)
    matched : bool
        If True, pair image i only with image i, as in the authors' code; this needs M = P.
    """
    if matched:
        return F.mse_loss(latent_m, latent_p)
    # mean_ij |a_i − b_j|² = mean |a|² + mean |b|² − 2 mean(a)·mean(b): all pairs for the cost of one
    cross = latent_m.mean(dim=0) * latent_p.mean(dim=0)
    return latent_m.square().mean() + latent_p.square().mean() - 2 * cross.mean()


def contact_loss(logits: Tensor, contact: Tensor, weight: Tensor) -> Tensor:
    """L_BCE of contact against the inside of cells, mean over images.

    Contacts are rare, so w is the square root of inside / contact.

    Parameters
    ----------
    logits, contact, weight : Tensor, float32, (N, 1, H, W)
        Logits of contact, where it is, and where that is known.
    """
    return weighted_bce(logits, contact, weight, balance=0.5)
