"""Imports what is slow, PyTorch above all, before a button needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...base.openmp import give_way
from .gc_freeze import leave_out_modules

if TYPE_CHECKING:
    from ...models.library import ModelEntry


def load_library() -> tuple[ModelEntry, ...]:
    """Import everything that the jobs need, PyTorch above all, and list the models."""
    give_way()
    import skimage.measure
    import torch

    from ...base.malloc import keep_freed_memory
    from ...data import support_set
    from ...finetune import fine_tune, scoring
    from ...models.library import list_models
    from ...prediction import instances, measurements, probability

    _ = skimage.measure, support_set, fine_tune, instances, measurements, probability, scoring
    keep_freed_memory()
    # The first optimiser imports PyTorch's compiler, half as long again as PyTorch itself: not at the button.
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    leave_out_modules()
    return tuple(list_models())
