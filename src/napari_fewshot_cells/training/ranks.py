"""Device, precision and ranks of a training, all through Lightning Fabric.

One process has one device and is rank 0 of 1. Under ``torchrun`` each process is a rank. Ranks exchange sums
and maxima: see `sum_over_ranks` and `largest_over_ranks`.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from ..base.devices import choose_device, choose_precision
from ..base.errors import FewShotError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def open_fabric(device: str = "cpu", precision: str = "32-true") -> Fabric:
    """Device, precision and, under ``torchrun``, the group of ranks (gloo on CPU, nccl on CUDA).

    Parameters
    ----------
    device : str
        "cpu", "cuda", "cuda:N", "mps", or "auto": CUDA if available, else MPS, else the CPU.
    precision : str
        "32-true", "bf16-mixed" (passes through the network in bfloat16; weights, losses and the optimiser
        stay float32), or "auto": bf16-mixed on CUDA devices and processors with bfloat16 units, 32-true
        elsewhere.

    Returns
    -------
    Fabric
        Launched.

    Raises
    ------
    FewShotError
        If device or precision is unknown or not available, there are more ranks than devices, or
        lightning-fabric is not installed.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    except ImportError as error:
        raise FewShotError(
            "Training needs lightning-fabric: pip install 'napari-fewshot-cells[train]'."
        ) from error
    logging.getLogger("lightning_fabric").setLevel(
        logging.WARNING
    )  # silences a banner for every group of ranks
    chosen = choose_device(device)
    chosen_precision = choose_precision(precision, chosen)
    n_ranks = _n_ranks()
    if n_ranks == 1:
        fabric = Fabric(
            accelerator=chosen.type,
            devices=[chosen.index or 0] if chosen.type == "cuda" else 1,
            precision=chosen_precision,
            plugins=[LightningEnvironment()],  # otherwise Fabric would look for a batch system
        )
    else:
        on_this_node = int(os.environ["LOCAL_WORLD_SIZE"])
        _check_ranks(device, chosen, on_this_node)
        fabric = Fabric(
            accelerator=chosen.type,
            strategy="ddp",
            devices=on_this_node,
            num_nodes=n_ranks // on_this_node,
            precision=chosen_precision,
            plugins=[TorchElasticEnvironment()],
        )
    fabric.launch()
    return fabric


def is_first_rank() -> bool:
    """Whether this process writes the files and prints; known before a fabric is open."""
    return _n_ranks() == 1 or os.environ["RANK"] == "0"


def sum_over_ranks(fabric: Fabric, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All-reduce: the sum of each tensor over the ranks, the same on every rank."""
    if fabric.world_size == 1:
        return dict(values)
    # as one vector, for one exchange's latency instead of one for each tensor
    flat = torch.cat([value.flatten() for value in values.values()])
    flat = cast(Tensor, fabric.all_reduce(flat, reduce_op="sum"))
    parts = torch.split(flat, [value.numel() for value in values.values()])
    return {name: part.view(value.shape) for part, (name, value) in zip(parts, values.items(), strict=True)}


def largest_over_ranks(fabric: Fabric, value: float) -> float:
    """All-reduce: the largest of the ranks' values, the same on every rank."""
    if fabric.world_size == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=fabric.device)
    return float(cast(Tensor, fabric.all_reduce(tensor, reduce_op="max")))


@contextmanager
def stop_requests(fabric: Fabric) -> Iterator[Callable[[], bool]]:
    """With several ranks, note Ctrl-C and SIGTERM instead of stopping at once.

    If one rank left on its own, the others would wait for its part of the next sum. So they ask here and
    leave together. A single rank is interrupted as usual. For use in a process's main thread.

    Yields
    ------
    callable
        Whether this rank has been asked to stop.
    """
    received: list[int] = []
    if fabric.world_size == 1:
        yield lambda: False
        return
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_ranks() -> None:
    """Close the group of ranks, if there is one. A process that ends with it open sometimes aborts."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _n_ranks() -> int:
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def _check_ranks(device: str, chosen: torch.device, on_this_node: int) -> None:
    if chosen.type == "mps" or chosen.index is not None:
        raise FewShotError(f"Several ranks cannot share '{device}'; use --device cuda or cpu.")
    n_devices = torch.cuda.device_count()
    if chosen.type == "cuda" and on_this_node > n_devices:
        raise FewShotError(
            f"{on_this_node} ranks were started on {n_devices} CUDA devices; "
            f"give torchrun --nproc-per-node {n_devices}."
        )
