"""bfloat16 on processors that multiply it natively: a training step takes half the time.

Forward passes use it in training, calibration and previews, and to measure how far a model agrees with the
annotation. Weights, losses, statistics and the optimiser stay float32. So does prediction, so that a model
finds the same cells on every machine. Other processors emulate bfloat16, which is slower than float32.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@lru_cache(maxsize=1)
def multiplies_bfloat16() -> bool:
    """Whether this processor has units for bfloat16: AMD since Zen 4, Intel with AMX.

    False if PyTorch is too old to report it.
    """
    import torch

    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def quick_passes(device: str, wanted: bool = True) -> torch.autocast:
    """A context for forward passes whose logits may be bfloat16; it changes nothing on other devices.

    Parameters
    ----------
    device : str
        bfloat16 is used on the CPU only, if it multiplies it natively.
    wanted : bool
        False to keep float32.
    """
    import torch

    native = wanted and torch.device(device).type == "cpu" and multiplies_bfloat16()
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=native)
