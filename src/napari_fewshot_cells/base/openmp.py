"""PyTorch's threads on a machine that has other things to do as well."""

from __future__ import annotations

import os
import sys

_SPINS = 10_000
"""Some 0.03 ms. GNU's OpenMP, which PyTorch comes with on Linux, spins 30 times as long by itself."""

_LLVM_BLOCKTIME = "200"
"""ms, its default; LLVM's and Intel's OpenMP, if one is there, would spin for ever under an active policy."""


def give_way() -> None:
    """Have PyTorch's threads that wait for each other sleep soon; to be called before PyTorch is loaded.

    A thread that waits for another that cannot run keeps it from running: where one of two cores is taken, a
    training step otherwise takes several times as long. Yet not at once: each thread that has used PyTorch
    keeps helpers of its own, and where all together are more than the cores, GNU's OpenMP lets them hardly
    spin, unless its policy is called active, when it is ten times as long: the steps of the window take
    0.7 of the time. What the user has set in the environment stays.
    """
    if sys.platform != "linux" or {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        return
    os.environ["GOMP_SPINCOUNT"] = str(_SPINS)
    os.environ["OMP_WAIT_POLICY"] = "active"
    os.environ.setdefault("KMP_BLOCKTIME", _LLVM_BLOCKTIME)
