"""The choices that more than one command offers."""

from __future__ import annotations

from enum import StrEnum


class Architecture(StrEnum):
    """The bundled networks."""

    fcrn = "fcrn"
    unet = "unet"
    half_unet = "half-unet"


class Target(StrEnum):
    """The set that is left out of the sources."""

    none = "none"
    B5 = "B5"
    B39 = "B39"
    ssTEM = "ssTEM"
    EM = "EM"
    TNBC = "TNBC"


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
