"""Choose the device and the precision of a training or prediction, and report that a device lacks memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from .bfloat16 import multiplies_bfloat16
from .errors import FewShotError

if TYPE_CHECKING:
    import torch

Precision = Literal["32-true", "bf16-mixed"]


def check_device_name(device: str) -> None:
    """Refuse a name that no device has, without PyTorch, which alone knows the devices of this machine.

    Raises
    ------
    FewShotError
        Neither "auto", "cpu", "mps", "cuda" nor "cuda:N".
    """
    kind, _, index = device.partition(":")
    if device not in ("auto", "cpu", "cuda", "mps") and not (kind == "cuda" and index.isdecimal()):
        raise FewShotError(f"There is no device '{device}'; choose auto, cpu, cuda or mps.")


def choose_device(device: str) -> torch.device:
    """The PyTorch device of a name.

    Parameters
    ----------
    device : str
        "cpu", "cuda", "cuda:N", "mps", or "auto": CUDA if there is any, else MPS, else the CPU.

    Raises
    ------
    FewShotError
        The name is unknown, or the device is not available to PyTorch.
    """
    check_device_name(device)
    import torch

    has_mps = torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    kind, _, index = device.partition(":")
    available = has_mps if kind == "mps" else True
    if kind == "cuda":
        available = int(index or 0) < torch.cuda.device_count()
    if not available:
        raise FewShotError(f"The device '{device}' is not available to PyTorch here; use --device cpu.")
    return torch.device(device)


def choose_precision(precision: str, device: torch.device) -> Precision:
    """The precision of a name on a device; see `training.ranks.open_fabric`.

    Raises
    ------
    FewShotError
        The name is unknown.
    """
    if precision == "auto":
        return "bf16-mixed" if _has_native_bf16(device) else "32-true"
    if precision == "32-true":
        return "32-true"
    if precision == "bf16-mixed":
        return "bf16-mixed"
    raise FewShotError(f"There is no precision '{precision}'; choose 32-true, bf16-mixed or auto.")


def _has_native_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 natively: emulated, as on GPUs before Ampere, it is slower."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and multiplies_bfloat16()


@contextmanager
def enough_memory(device: str) -> Iterator[None]:
    """Turn PyTorch's out-of-memory error into a one-line `FewShotError`."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise FewShotError(f"'{device}' has too little memory; use --device cpu.") from error
