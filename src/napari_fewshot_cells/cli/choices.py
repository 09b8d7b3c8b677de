"""The choices that more than one command offers."""

from __future__ import annotations

from enum import StrEnum

from ..datasets.five_sets import PUBLISHED_SETS
from ..models.registry import NETWORKS, PAPERS_DEFAULT

Architecture = StrEnum("Architecture", {name: name for name in NETWORKS})  # type: ignore[misc]
"""All networks."""

Bundled = StrEnum("Bundled", {name: name for name in NETWORKS if NETWORKS[name].bundled})  # type: ignore[misc]
"""Those whose trained weights come with the package."""

PAPERS_FIRST = Architecture(PAPERS_DEFAULT)
"""What a training of the paper takes by default."""

WHAT_FOR = " ".join(f"{name}: {network.good_for}" for name, network in NETWORKS.items())
"""What each network is good for, for the help."""


class Target(StrEnum):
    """The set that is left out of the sources: none, or one of the published sets."""

    _ignore_ = "published"  # the variable of the loop
    none = "none"
    for published in PUBLISHED_SETS:
        vars()[published] = published


class Precision(StrEnum):
    """Of the passes through the network."""

    full = "32-true"
    bf16 = "bf16-mixed"
    auto = "auto"
