"""The choices that more than one command offers."""

from __future__ import annotations

from enum import StrEnum

from ..datasets.five_sets import PUBLISHED_SETS


class Architecture(StrEnum):
    """The bundled networks."""

    fcrn = "fcrn"
    unet = "unet"
    half_unet = "half-unet"


class Target(StrEnum):
    """The set that is left out of the sources: none, or one of the published sets."""

    _ignore_ = "published"  # the variable of the loop
    none = "none"
    for published in PUBLISHED_SETS:
        vars()[published] = published


class Entropy(StrEnum):
    """L_ER as printed, of the foreground alone, or of foreground and background."""

    printed = "printed"
    full = "full"


class Distillation(StrEnum):
    """L_D over all pairs of images, as printed, or image i with image i."""

    pairwise = "pairwise"
    matched = "matched"


class Precision(StrEnum):
    """Of the passes through the network."""

    full = "32-true"
    bf16 = "bf16-mixed"
    auto = "auto"
