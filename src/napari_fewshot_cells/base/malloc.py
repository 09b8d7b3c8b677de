"""Keeps the memory that PyTorch frees: to get it anew costs a third of a training step, or two thirds."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

# <malloc.h> of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
_LARGEST_KEPT = (128 * 2**20, 32 * 2**20)
"""Bytes: a layer of the light U-Net for a tile of a prediction, and the most that an older glibc keeps."""


def keep_freed_memory() -> None:
    """Have the C library keep freed blocks of up to 128 MiB for the next time, where it is glibc.

    By itself glibc gives a large block back to the system at once, and every training step, every tile of a
    prediction gets the same hundreds of megabytes again, page by page. Threads share one arena, since those
    of other threads are given back whenever they are empty. For whole programs: the process holds the most
    that it has needed.
    """
    mallopt = _mallopt()
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    any(mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGEST_KEPT)  # it answers 1 where it has taken it


def keep_all_freed_memory() -> None:
    """The same for blocks of any size; for programs that do nothing but train.

    A layer's output for the paper's batch, 64 crops of 256², takes 512 MiB. A program that opens large images
    now and then had better give theirs back.
    """
    mallopt = _mallopt()
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_TRIM_THRESHOLD, -1)
    mallopt(_M_MMAP_MAX, 0)


def _mallopt() -> Callable[[int, int], int] | None:
    """That of glibc; None where the C library is another one."""
    return getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
