"""Choices that several commands offer."""

from __future__ import annotations

from enum import StrEnum

from ..datasets.five_sets import PUBLISHED_SETS
from ..models.registry import NETWORKS, PAPERS_DEFAULT

Architecture = StrEnum("Architecture", {name: name for name in NETWORKS})  # type: ignore[misc]
"""Every network of the registry."""

Bundled = StrEnum("Bundled", {name: name for name in NETWORKS if NETWORKS[name].bundled})  # type: ignore[misc]
"""Networks whose trained weights come with the package."""

DEFAULT_ARCHITECTURE = Architecture(PAPERS_DEFAULT)
"""Network that `meta` and `transfer` train by default."""

NETWORKS_HELP = " ".join(f"{name}: {network.good_for}" for name, network in NETWORKS.items())
"""What each network is good for, for help texts."""


class Target(StrEnum):
    """Source set to leave out of training: one of the published sets, or none."""

    _ignore_ = "published"  # the loop variable is not a member
    none = "none"
    for published in PUBLISHED_SETS:
        vars()[published] = published


class Precision(StrEnum):
    """Number format of the passes through the network."""

    full = "32-true"
    bf16 = "bf16-mixed"
    auto = "auto"
