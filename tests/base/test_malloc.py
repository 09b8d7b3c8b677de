"""Freed memory is kept by the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from napari_fewshot_cells.base.malloc import keep_all_freed_memory, keep_freed_memory

FAULTS = """
import resource
from napari_fewshot_cells.base import malloc

{keep}

def use():
    for _ in range(5):
        [bytearray({size}) for _ in range({blocks})]  # freed at once, all of them

use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: str, size: int, blocks: int) -> int:
    """Pages that a process gets from the system for memory that it had before."""
    told = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep, size=size, blocks=blocks)],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(told.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc alone")
def test_freed_blocks_are_used_again_without_the_system() -> None:
    eight = 8 * 2**20, 8
    assert faults("", *eight) > 1000
    assert faults("malloc.keep_freed_memory()", *eight) < 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc alone")
def test_large_blocks_are_given_back_unless_all_are_kept() -> None:
    two = 160 * 2**20, 2
    assert faults("malloc.keep_freed_memory()", *two) > 1000
    assert faults("malloc.keep_all_freed_memory()", *two) < 100


@pytest.mark.parametrize("platform_name", ["win32", "darwin"])
def test_nothing_is_done_elsewhere(platform_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: object) -> None:
        raise TypeError("there is no such library here")

    monkeypatch.setattr("sys.platform", platform_name)
    monkeypatch.setattr("ctypes.CDLL", refuse)
    keep_freed_memory()
    keep_all_freed_memory()
