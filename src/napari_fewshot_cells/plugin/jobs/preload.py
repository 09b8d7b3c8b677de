"""Imports what is slow, PyTorch above all, before a button needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...base.host_process import keep_freed_memory, limit_openmp_spinning

if TYPE_CHECKING:
    from ...models.library import ModelEntry


def load_library() -> tuple[ModelEntry, ...]:
    """Import everything that the jobs need, PyTorch above all, and list the models."""
    limit_openmp_spinning()
    import skimage.measure
    import torch

    from ...data import support_set
    from ...finetune import fine_tune, scoring
    from ...models.library import list_models
    from ...prediction import instances, measurements, probability

    _ = skimage.measure, support_set, fine_tune, instances, measurements, probability, scoring
    keep_freed_memory()
    # The first optimiser imports PyTorch's compiler, half as long again as PyTorch itself: not at the button.
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    return tuple(list_models())
