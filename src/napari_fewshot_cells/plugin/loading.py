"""Imports what is slow, PyTorch above all, before a button needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..threads import give_way
from .garbage import leave_out_modules

if TYPE_CHECKING:
    from ..library import ModelEntry


def load_library() -> tuple[ModelEntry, ...]:
    """Import everything that the jobs need, PyTorch above all, and list the models."""
    give_way()
    import skimage.measure
    import torch

    from .. import annotations, finetune, instances, measurements, prediction, scoring
    from ..allocation import keep_freed_memory
    from ..library import list_models

    _ = skimage.measure, annotations, finetune, instances, measurements, prediction, scoring
    keep_freed_memory()
    # The first optimiser imports PyTorch's compiler, half as long again as PyTorch itself: not at the button.
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    leave_out_modules()
    return tuple(list_models())
