"""Which device a training or prediction runs on, and in which precision; what to say when it is too small."""

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
    """What a device's name means here.

    Parameters
    ----------
    device : str
        "cpu", "cuda", "cuda:N", "mps", or "auto": CUDA where there is any, then MPS, then the CPU.

    Raises
    ------
    FewShotError
        Another name, or not available here.
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
    """What a precision's name means on a device; see `training.ranks.open_fabric`.

    Raises
    ------
    FewShotError
        Another name.
    """
    if precision == "auto":
        return "bf16-mixed" if _likes_bf16(device) else "32-true"
    if precision == "32-true":
        return "32-true"
    if precision == "bf16-mixed":
        return "bf16-mixed"
    raise FewShotError(f"There is no precision '{precision}'; choose 32-true, bf16-mixed or auto.")


def _likes_bf16(device: torch.device) -> bool:
    """Emulated bfloat16, as on the GPUs before Ampere, is slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and multiplies_bfloat16()


@contextmanager
def enough_memory(device: str) -> Iterator[None]:
    """Say in one line that the device's memory does not suffice."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise FewShotError(f"The memory of '{device}' does not suffice; use --device cpu.") from error
