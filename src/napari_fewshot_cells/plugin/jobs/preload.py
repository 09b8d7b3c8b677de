"""Imports slow modules, above all PyTorch, before a button needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...base.host_process import keep_freed_memory, limit_openmp_spinning

if TYPE_CHECKING:
    from ...models.library import ModelEntry


def load_library() -> tuple[ModelEntry, ...]:
    """Import everything that the jobs need, then list the models."""
    limit_openmp_spinning()
    import skimage.measure
    import torch

    from ...data import support_set
    from ...finetune import fine_tune, scoring
    from ...models.library import list_models
    from ...prediction import instances, measurements, probability

    _ = skimage.measure, support_set, fine_tune, instances, measurements, probability, scoring
    keep_freed_memory()
    # The first optimiser imports PyTorch's compiler, about 1 s of processor time. Do it now, not when the
    # button is pressed.
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    return tuple(list_models())
