"""What this package changes in the process that it runs in: somebody's napari, or one of our commands.

There are two changes, both on Linux only. The environment variable ``NAPARI_FEWSHOT_HOST_PROCESS=leave``
switches both off. If it is unset, or has any other value, both are made.

- OpenMP (`limit_openmp_spinning`): environment variables limit how long PyTorch's idle threads spin.
- Memory (`keep_freed_memory`, `keep_all_freed_memory`): ``mallopt`` stops glibc from returning freed memory
  to the system.

Each function says what it sets, why, and what was measured. Closing the panel undoes neither: OpenMP reads
its variables once, and glibc does not say what its settings were before.

The garbage collector is left alone. With PyTorch loaded a full collection takes 0.37 s. ``gc.freeze`` would
make it 1 ms, but without it the GUI thread ran none in 10 presses of the button (K = 1 and 5), 8 predictions,
4 drags of the threshold, and painting. Python 3.11 runs one if new objects outnumber a quarter of the old,
some 140 000 then; a press leaves 150. Adding four annotated images caused one. Removing a layer always causes
one, because napari calls ``gc.collect`` to free OpenGL objects, and it would not find those of a frozen
layer. And ``gc.unfreeze`` also releases what other programs froze.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

SWITCH, LEAVE = "NAPARI_FEWSHOT_HOST_PROCESS", "leave"

_SPINS = "10000"
"""About 0.03 ms, 1/30 of the default of GNU OpenMP, with which PyTorch comes on Linux."""

_LLVM_BLOCKTIME = "200"
"""ms, its default. If LLVM's or Intel's OpenMP is loaded, it would spin for ever under an active policy."""

# <malloc.h> of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8

_LARGEST_KEPT = (128 * 2**20, 32 * 2**20)
"""Bytes: a layer of the light U-Net for one tile of a prediction, and the most that an older glibc keeps."""


def limit_openmp_spinning() -> None:
    """Let PyTorch's idle threads spin for 0.03 ms, then sleep; call it before PyTorch is imported.

    It sets ``GOMP_SPINCOUNT``, ``OMP_WAIT_POLICY`` and, if it is unset, ``KMP_BLOCKTIME``. If the user has
    set one of the first two, it sets nothing. If another plugin has imported PyTorch before, it has no
    effect.

    Notes
    -----
    A thread that spins while it waits takes a core from the thread that it waits for, and by default GNU
    OpenMP spins for 1 ms. On two cores with two other programs, 20 steps and a prediction took 12.0 s by
    default and 6.2 s with this. With a load of 8 to 12, one step (half U-Net, two threads) used 650 ms of
    processor time by default and 234 ms with this: medians of four processes, in turn.

    Spin briefly (0.03 ms) instead of not at all. GNU OpenMP stops spinning once its threads outnumber the
    cores, unless ``OMP_WAIT_POLICY=active``. They do once two threads have used PyTorch, because each owns an
    OpenMP team. With it a training step in the GUI takes 0.7x the time: 26 ms instead of 38 ms (on a quiet
    machine).
    """
    if _is_left_alone() or {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        return
    os.environ["GOMP_SPINCOUNT"] = _SPINS
    os.environ["OMP_WAIT_POLICY"] = "active"
    os.environ.setdefault("KMP_BLOCKTIME", _LLVM_BLOCKTIME)


def keep_freed_memory() -> None:
    """Stop glibc from returning freed blocks of up to 128 MiB to the system.

    With another C library it does nothing. The process keeps the most memory that it has needed. All threads
    share one arena, because glibc returns the arenas of other threads whenever they are empty.

    Notes
    -----
    Without this each training step, and each tile of a prediction, gets the same hundreds of megabytes anew,
    page by page: the page faults cost 1/3 to 2/3 of a training step. A step of the button's recipe with FCRN
    had 28 000 page faults and used 149 ms of processor time without this; with it, 0 and 92 ms. With the half
    U-Net: 9 000 and 97 ms, 0 and 71 ms. Medians of three processes, in turn, one thread. A prediction of 512²
    px used 178 ms without this and 104 ms with it.
    """
    mallopt = _mallopt()
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    any(mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGEST_KEPT)  # it returns 1 if it takes the size


def keep_all_freed_memory() -> None:
    """Stop glibc from returning freed blocks of any size; for programs that only train.

    Not for napari: it should return the memory of a large image that is closed.

    Notes
    -----
    A layer's output for the paper's batch, 64 crops of 256², takes 512 MiB. The paper's step in bfloat16 took
    7.4 to 9.0 s without this and 2.6 s with it.
    """
    mallopt = _mallopt()
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_TRIM_THRESHOLD, -1)
    mallopt(_M_MMAP_MAX, 0)


def _mallopt() -> Callable[[int, int], int] | None:
    """glibc's; None if the C library is another one, or if the process is left alone."""
    return None if _is_left_alone() else getattr(ctypes.CDLL(None), "mallopt", None)


def _is_left_alone() -> bool:
    return sys.platform != "linux" or os.environ.get(SWITCH) == LEAVE
