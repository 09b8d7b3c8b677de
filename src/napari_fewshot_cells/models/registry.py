"""The networks by name. A new one takes one entry in `NETWORKS`, and a class in any Python module.

The choices of the command line, the panel's list, the reports and the messages about a network follow from
the entry. The class is imported when its network is built, so the list needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..base.errors import ModelError

DEFAULT = "half-unet"
"""Network that fine-tuning starts from by default."""

PAPERS_DEFAULT = "fcrn"
"""Default network of the paper's recipe and of meta-training and transfer learning."""


@dataclass(frozen=True)
class Network:
    """What is known about a network before it is built.

    Attributes
    ----------
    title : str
        Name in lists, tables and figures.
    build : str or callable
        Its class, a `networks.SegmentationNetwork` without arguments: "module:Class", or the class itself.
    good_for : str
        One sentence for help texts.
    remark : str
        One word of advice for choosing, shown in brackets after the title.
    bundled : bool
        Whether the package has trained weights, under the network's name.
    of_the_paper : bool
        Whether it is part of the paper's experiment.
    """

    title: str
    build: str | Callable[[], Any]
    good_for: str
    remark: str = ""
    bundled: bool = False
    of_the_paper: bool = False

    @property
    def label(self) -> str:
        """The title with the remark."""
        return f"{self.title} ({self.remark})" if self.remark else self.title


NETWORKS: dict[str, Network] = {
    "fcrn": Network(
        "FCRN",
        "napari_fewshot_cells.models.networks:FCRN",
        "The paper's first network; the best one if only the middles of cells are painted.",
        bundled=True,
        of_the_paper=True,
    ),
    "unet": Network(
        "U-Net",
        "napari_fewshot_cells.models.networks:UNet",
        "The paper's second network; takes four times as long as half-unet.",
        remark="slow",
        bundled=True,
        of_the_paper=True,
    ),
    "half-unet": Network(
        "Half U-Net",
        "napari_fewshot_cells.models.networks:HalfUNet",
        "The most accurate and the fastest network.",
        bundled=True,
    ),
}
"""The networks by their name in files, cards and commands, in the order of tables."""


def find_network(name: str) -> Network:
    """The network of this name.

    Raises
    ------
    ModelError
        There is none; the message lists the known networks.
    """
    if name not in NETWORKS:
        raise ModelError(f"There is no network '{name}'; choose from {', '.join(NETWORKS)}.")
    return NETWORKS[name]


def title_of(name: str) -> str:
    """A network's title, or its name if the network is unknown, as in another person's results."""
    return NETWORKS[name].title if name in NETWORKS else name
