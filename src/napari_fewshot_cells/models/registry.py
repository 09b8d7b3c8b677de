"""The networks by name: to add one is one entry in `NETWORKS`, and its class anywhere in Python.

The choices of the command line, the panel's list, the reports and the messages about a network follow from
the entry. A class is imported when its network is built: the list itself needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..base.errors import ModelError

DEFAULT = "half-unet"
"""Fine-tuning begins with it unless another is chosen."""

PAPERS_DEFAULT = "fcrn"
"""The paper's recipe, and the trainings of the paper, begin with it unless another is chosen."""


@dataclass(frozen=True)
class Network:
    """What is known of a network without building it.

    Attributes
    ----------
    title : str
        For lists, tables and figures.
    build : str or callable
        Its class, a `networks.SegmentationNetwork` without arguments: "module:Class", or the class itself.
    good_for : str
        One sentence.
    remark : str
        What a person who chooses should know, in a word; shown in brackets after the title.
    bundled : bool
        Whether trained weights come with the package, under the network's name.
    of_the_paper : bool
        Whether the paper's experiment has it.
    """

    title: str
    build: str | Callable[[], Any]
    good_for: str
    remark: str = ""
    bundled: bool = False
    of_the_paper: bool = False

    @property
    def label(self) -> str:
        """Title and remark."""
        return f"{self.title} ({self.remark})" if self.remark else self.title


NETWORKS: dict[str, Network] = {
    "fcrn": Network(
        "FCRN",
        "napari_fewshot_cells.models.networks:FCRN",
        "The paper's first; the best of these if cells are only dabbed in their middle.",
        bundled=True,
        of_the_paper=True,
    ),
    "unet": Network(
        "U-Net",
        "napari_fewshot_cells.models.networks:UNet",
        "The paper's second; takes four times as long as half-unet.",
        remark="slow",
        bundled=True,
        of_the_paper=True,
    ),
    "half-unet": Network(
        "Half U-Net",
        "napari_fewshot_cells.models.networks:HalfUNet",
        "The most accurate of these, and the fastest.",
        bundled=True,
    ),
}
"""By the name that files, cards and commands give them, in the order of tables."""


def find_network(name: str) -> Network:
    """The network of this name.

    Raises
    ------
    ModelError
        There is none; the message names those there are.
    """
    if name not in NETWORKS:
        raise ModelError(f"There is no network '{name}'; choose from {', '.join(NETWORKS)}.")
    return NETWORKS[name]


def title_of(name: str) -> str:
    """A network's title; its name if it is not known here, as in another person's results."""
    return NETWORKS[name].title if name in NETWORKS else name
