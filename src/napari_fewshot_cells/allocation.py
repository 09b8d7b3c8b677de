"""Keeps the memory that PyTorch frees: to get it anew costs a third of a training step, or two thirds."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping

# <malloc.h> of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # bytes; most versions of glibc take no larger one


def keep_freed_memory() -> None:
    """Have the C library keep freed blocks of up to 32 MiB for the next time, where it is glibc.

    By itself glibc gives a large block back to the system at once, and every training step, every tile of a
    prediction gets the same hundreds of megabytes again, page by page. Threads share one arena, since those
    of other threads are given back whenever they are empty. For whole programs: the process holds the most
    that it has needed.
    """
    _tell_malloc(
        {
            _M_ARENA_MAX: 1,
            _M_MMAP_THRESHOLD: _LARGEST_MMAP_THRESHOLD,
            _M_TRIM_THRESHOLD: 2**31 - 1,
        }
    )


def keep_all_freed_memory() -> None:
    """The same for blocks of any size; for programs that do nothing but train.

    A layer's output for the paper's batch, 64 crops of 256², takes 512 MiB. A program that opens large images
    now and then had better give theirs back.
    """
    _tell_malloc({_M_ARENA_MAX: 1, _M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1})


def _tell_malloc(settings: Mapping[int, int]) -> None:
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return
    for parameter, value in settings.items():
        mallopt(parameter, value)
