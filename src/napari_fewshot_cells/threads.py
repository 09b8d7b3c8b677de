"""PyTorch's threads on a machine that has other things to do as well."""

from __future__ import annotations

import os

_SPINS = 10_000
"""Some 0.03 ms. GNU's OpenMP, which PyTorch comes with on Linux, spins 30 times as long by itself."""


def give_way() -> None:
    """Have PyTorch's threads that wait for each other sleep soon; to be called before PyTorch is loaded.

    A thread that waits for another that cannot run keeps it from running: where one of two cores is taken, a
    training step otherwise takes several times as long. What the user has set in the environment stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS))
