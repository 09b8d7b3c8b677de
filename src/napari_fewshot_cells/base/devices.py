"""The ``--device`` option: which there are, and what to say when one is not there or too small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import FewShotError


def check_device(device: str) -> str:
    """Return the device if PyTorch can use it.

    Parameters
    ----------
    device : str
        "cpu", "cuda", "cuda:N" or "mps".

    Raises
    ------
    FewShotError
        Another name, or not available here.
    """
    import torch

    kind, _, index = device.partition(":")
    if device == "cpu":
        available = True
    elif kind == "cuda" and (index.isdecimal() or device == "cuda"):
        available = torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count()
    elif device == "mps":
        available = torch.backends.mps.is_available()
    else:
        raise FewShotError(f"There is no device '{device}'; choose cpu, cuda or mps.")
    if not available:
        raise FewShotError(f"The device '{device}' is not available to PyTorch here; use --device cpu.")
    return device


@contextmanager
def enough_memory(device: str) -> Iterator[None]:
    """Say in one line that the device's memory does not suffice."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise FewShotError(f"The memory of '{device}' does not suffice; use --device cpu.") from error
