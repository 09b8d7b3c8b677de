"""Imports what is slow, PyTorch above all, before a button needs it."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..library import ModelEntry


def load_library() -> tuple[ModelEntry, ...]:
    """Import everything that the jobs need, PyTorch above all, and list the models."""
    import skimage.measure
    import torch

    from .. import annotations, finetune, instances, measurements, prediction, scoring
    from ..allocation import keep_freed_memory
    from ..library import list_models

    _ = skimage.measure, annotations, finetune, instances, measurements, prediction, scoring
    keep_freed_memory()
    # The first optimiser imports PyTorch's compiler, half as long again as PyTorch itself: not at the button.
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    # So many modules make so many objects that a full garbage collection holds the interpreter for 0.3 s:
    # now, while the panel opens, rather than when a result is shown. And napari makes one whenever a layer is
    # removed, a preview's too. What is frozen is left out of it, until the panel closes; see `rounds`.
    gc.collect()
    gc.freeze()
    return tuple(list_models())
