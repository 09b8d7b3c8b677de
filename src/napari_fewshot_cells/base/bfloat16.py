"""bfloat16 where the processor itself multiplies it: a training step then takes half the time.

So do the passes that find a threshold, a preview, or how far models agree with what is painted. Weights,
losses, statistics and the optimiser stay float32, and so does prediction: a model finds the same cells on
every machine. A processor without such units would emulate them, and take longer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@lru_cache(maxsize=1)
def multiplies_bfloat16() -> bool:
    """Whether this processor has units for bfloat16, as AMD's have since Zen 4 and Intel's with AMX.

    False under a PyTorch too old to tell.
    """
    import torch

    told: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(told.get("avx512_bf16") or told.get("amx_bf16"))


def quick_passes(device: str, wanted: bool = True) -> torch.autocast:
    """A context for the passes of a training through a network on a device; its logits may be bfloat16."""
    import torch

    native = wanted and torch.device(device).type == "cpu" and multiplies_bfloat16()
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=native)
