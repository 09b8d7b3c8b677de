"""Reads and writes models as two files: the weights as safetensors, and the card as JSON.

The header of the safetensors file holds the card too. It is read without torch, so models are listed at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors

from ..base.atomic_files import write_atomically
from ..base.errors import ModelError
from ..base.validation import InvalidError, parse_json, validated
from .model import Model, ModelCard
from .registry import NETWORKS

if TYPE_CHECKING:
    from torch import Tensor

    from .networks import SegmentationNetwork

CARD_FORMAT = 1

_SMALLEST_FACTOR, _LARGEST_FACTOR = 1 / 16, 8.0  # twice the range of fine-tuning


@dataclass(frozen=True)
class _Header:
    format: int


def write_model(model: Model, path: Path) -> Path:
    """Write ``path`` (``.safetensors``) and the JSON card beside it, each completely or not at all.

    Returns
    -------
    Path
        The file written. A missing suffix is appended.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full. No half-written file remains.
    """
    import safetensors.torch

    path = path if path.suffix == ".safetensors" else path.with_name(path.name + ".safetensors")
    card = {"format": CARD_FORMAT, **asdict(model.card)}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, safetensors.torch.save(state, metadata={"card": json.dumps(card)}))
    write_atomically(
        path.with_suffix(".json"), (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode()
    )
    return path


def read_model(path: Path) -> Model:
    """Read a model file.

    Raises
    ------
    ModelError
        The file is missing, damaged or of another program, or its weights do not fit its architecture.
    """
    card = read_card(path)
    from .batch_norm import learn_affine
    from .networks import build_network, learn_contacts

    with safetensors.safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    network = build_network(card.architecture, seed=0)
    if any(name.replace("running_mean", "weight") in state for name in state if "running_mean" in name):
        learn_affine(network)
    if any(name.startswith("contact_head.") for name in state):
        learn_contacts(network)
    _load_state(network, state, path)
    return Model(card, network.eval())


def read_card(path: Path) -> ModelCard:
    """Read the card of a model file, without its weights.

    Raises
    ------
    ModelError
        The file is missing, damaged or of another program. The weights are not checked.
    """
    if not path.is_file():
        raise ModelError(f"There is no model file '{path}'.")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            header = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ModelError(f"'{path.name}' is damaged or not a model file ({error}).") from error
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read ({error.strerror or error}).") from error
    return _parse_card(header.get("card"), path)


def _parse_card(text: str | None, path: Path) -> ModelCard:
    if text is None:
        raise ModelError(f"'{path.name}' was not written by napari-fewshot-cells: it has no model card.")
    try:
        content = parse_json(text)
        number = validated(_Header, content).format
        if number > CARD_FORMAT or content.keys() - {"format", *(part.name for part in fields(ModelCard))}:
            raise ModelError(
                f"'{path.name}' is from a newer version of napari-fewshot-cells; update the package."
            )
        card = validated(ModelCard, content)
    except InvalidError as error:
        raise ModelError(f"The model card in '{path.name}' is damaged ({error}).") from error
    if card.architecture not in NETWORKS:
        raise ModelError(f"'{path.name}' has the unknown network {card.architecture!r:.40}.")
    if not _SMALLEST_FACTOR <= card.factor <= _LARGEST_FACTOR:
        sizes = f"{card.canonical_diameter:g} / {card.diameter:g} px"
        raise ModelError(
            f"The model card in '{path.name}' is damaged (canonical_diameter / diameter cannot be {sizes}: "
            f"it should be from {_SMALLEST_FACTOR:g} to {_LARGEST_FACTOR:g})."
        )
    return card


def _load_state(network: SegmentationNetwork, state: Mapping[str, Tensor], path: Path) -> None:
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise ModelError(f"The weights in '{path.name}' do not fit the network of its card.") from error
    if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
        raise ModelError(f"The weights in '{path.name}' hold NaN or infinite values.")
