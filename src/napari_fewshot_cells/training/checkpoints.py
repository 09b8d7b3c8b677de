"""The state of a supervised training: θ and Adam's moments, in one file that cannot contain code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ..base.atomic_files import write_atomically
from ..base.errors import ModelError

_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a run, enough to continue bit for bit.

    Attributes
    ----------
    iteration : int
        Adam steps done.
    seconds : float
        Trained so far.
    theta : dict of Tensor
        Parameters by name.
    moments : dict of Tensor
        Adam's moments, by ``exp_avg.NAME`` and ``exp_avg_sq.NAME``; empty before the first step.
    """

    iteration: int
    seconds: float
    theta: dict[str, Tensor]
    moments: dict[str, Tensor]


def take_checkpoint(iteration: int, seconds: float, network: nn.Module, adam: torch.optim.Adam) -> Checkpoint:
    """Copy the present state of a run."""
    parameters = dict(network.named_parameters())
    return Checkpoint(
        iteration,
        seconds,
        {name: parameter.detach().clone() for name, parameter in parameters.items()},
        {
            f"{moment}.{name}": adam.state[parameter][moment].clone()
            for name, parameter in parameters.items()
            if parameter in adam.state
            for moment in _MOMENTS
        },
    )


@torch.no_grad()
def restore(checkpoint: Checkpoint, network: nn.Module, adam: torch.optim.Adam) -> None:
    """Set a run back to a checkpoint (in place)."""
    for name, parameter in network.named_parameters():
        parameter.copy_(checkpoint.theta[name])
        adam.state.pop(parameter, None)
        if checkpoint.iteration:
            # in the parameter's memory layout, because sums may round differently in another
            state = {
                moment: torch.empty_like(parameter).copy_(checkpoint.moments[f"{moment}.{name}"])
                for moment in _MOMENTS
            }
            adam.state[parameter] = {"step": torch.tensor(float(checkpoint.iteration)), **state}


def write_checkpoint(path: Path, checkpoint: Checkpoint, settings: str) -> None:
    """Write a checkpoint as a whole or not at all.

    Parameters
    ----------
    path : Path
    checkpoint : Checkpoint
    settings : str
        Settings that identify the run; `read_checkpoint` returns them.
    """
    named = {f"theta.{name}": theta for name, theta in checkpoint.theta.items()} | checkpoint.moments
    tensors = {name: tensor.cpu().contiguous() for name, tensor in named.items()}
    header = {
        "settings": settings,
        "iteration": str(checkpoint.iteration),
        "seconds": repr(checkpoint.seconds),
    }
    write_atomically(path, safetensors.torch.save(tensors, metadata=header))


def read_checkpoint(path: Path) -> tuple[Checkpoint, str]:
    """Read a checkpoint and the settings of its run.

    Raises
    ------
    ModelError
        If the file is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except safetensors.SafetensorError as error:
        raise ModelError(f"'{path}' is damaged ({error}); give another --out folder.") from error
    theta = {name.removeprefix("theta."): t for name, t in tensors.items() if name.startswith("theta.")}
    moments = {name: t for name, t in tensors.items() if not name.startswith("theta.")}
    return Checkpoint(int(header["iteration"]), float(header["seconds"]), theta, moments), header["settings"]
