"""Keeps the memory that PyTorch frees: to get it anew costs a third of a training step."""

from __future__ import annotations

import ctypes
import sys

# <malloc.h> of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # bytes; glibc takes no larger one


def keep_freed_memory() -> None:
    """Have the C library keep freed blocks of up to 32 MiB for the next time, where it is glibc.

    By itself glibc gives a large block back to the system at once, and every training step, every tile of a
    prediction gets the same hundreds of megabytes again, page by page. Threads share one arena, since those
    of other threads are given back whenever they are empty. For whole programs: the process holds the most
    that it has needed.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
