"""The list of networks: what follows from an entry, and an entry that is added at run time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_fewshot_cells.base.errors import ModelError
from napari_fewshot_cells.cli import choices
from napari_fewshot_cells.experiment.report.results import ARCHITECTURES
from napari_fewshot_cells.models.library import bundled_dir
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.model_file import read_card, read_model, write_model
from napari_fewshot_cells.models.networks import SegmentationNetwork, build_network
from napari_fewshot_cells.models.registry import (
    DEFAULT,
    NETWORKS,
    PAPERS_DEFAULT,
    Network,
    find_network,
    title_of,
)


class Pixelwise(SegmentationNetwork):
    stride = 1
    receptive_radius = 0

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(1, 1, 1)

    def encode_decode(self, x):
        return self.head(x), x


@pytest.fixture
def mine(monkeypatch):
    monkeypatch.setitem(NETWORKS, "mine", Network("Mine", Pixelwise, "Nothing."))


def test_bundled_networks_are_those_with_weights():
    bundled = {name for name, network in NETWORKS.items() if network.bundled}
    assert bundled == {file.stem for file in bundled_dir().glob("*.safetensors")}
    assert NETWORKS[DEFAULT].bundled
    assert NETWORKS[PAPERS_DEFAULT].of_the_paper


def test_choices_and_titles_follow():
    assert [*choices.Architecture] == [*NETWORKS]
    assert {*choices.Bundled} == {name for name, network in NETWORKS.items() if network.bundled}
    assert ARCHITECTURES == {"fcrn": "FCRN", "unet": "U-Net"}
    assert [NETWORKS[name].label for name in ("unet", "half-unet")] == ["U-Net (slow)", "Half U-Net"]
    assert title_of("fcrn") == "FCRN"
    assert title_of("vgg") == "vgg"


def test_an_unknown_network_is_named_with_those_there_are():
    for find in (find_network, lambda name: build_network(name, 0)):
        with pytest.raises(ModelError, match="no network 'vgg'; choose from fcrn, unet, half-unet"):
            find("vgg")


def test_a_network_of_ones_own_is_built_written_and_read(mine, tmp_path):
    network = build_network("mine", 3)
    assert isinstance(network, Pixelwise)
    assert torch.equal(network.head.weight, build_network("mine", 3).head.weight)
    path = write_model(Model(ModelCard("x", "mine"), network), tmp_path / "x")
    assert torch.equal(read_model(path).network.head.weight, network.head.weight)


def test_a_file_of_a_network_that_is_not_known(tmp_path):
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(NETWORKS, "mine", Network("Mine", Pixelwise, "Nothing."))
        path = write_model(Model(ModelCard("x", "mine"), build_network("mine", 0)), tmp_path / "x")
    for read in (read_card, read_model):
        with pytest.raises(ModelError, match="unknown network 'mine'"):
            read(path)
