"""What the package changes in its process, and that one environment variable switches it off."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from napari_fewshot_cells.base.host_process import (
    SWITCH,
    keep_all_freed_memory,
    keep_freed_memory,
    limit_openmp_spinning,
)

FAULTS = """
import resource
from napari_fewshot_cells.base import host_process

{keep}

def use():
    for _ in range(5):
        [bytearray({size}) for _ in range({blocks})]  # freed at once, all of them

use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

OURS = ["GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY"]
CHANGES = f"""
import ctypes, gc, os
from napari_fewshot_cells.base import host_process
from napari_fewshot_cells.plugin.jobs.preload import load_library

class NoLibrary:
    def __init__(self, name):
        asked.append(name)

asked, library = [], ctypes.CDLL
ctypes.CDLL = NoLibrary
host_process.limit_openmp_spinning()
host_process.keep_freed_memory()
host_process.keep_all_freed_memory()
ctypes.CDLL = library
load_library()
print(len(asked), gc.get_freeze_count(), *(name for name in {OURS} if name in os.environ))
"""

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc alone")


def run_python(code: str, **variables: str) -> str:
    """What a fresh process prints, without what the person who runs the tests has set."""
    inherited = {name: value for name, value in os.environ.items() if name not in {SWITCH, *OURS}}
    return subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**inherited, **variables},
    ).stdout


def faults(keep: str, size: int, blocks: int, **variables: str) -> int:
    """Pages that a process gets from the system for memory that it had before."""
    return int(run_python(FAULTS.format(keep=keep, size=size, blocks=blocks), **variables))


def environment(monkeypatch: pytest.MonkeyPatch, **given: str) -> dict[str, str]:
    """The environment after `limit_openmp_spinning`, with the variables given before."""
    variables = dict(given)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.environ", variables)
    limit_openmp_spinning()
    return variables


@on_glibc
def test_freed_blocks_are_used_again_without_the_system() -> None:
    eight = 8 * 2**20, 8
    assert faults("", *eight) > 1000
    assert faults("host_process.keep_freed_memory()", *eight) < 100


@on_glibc
def test_large_blocks_are_given_back_unless_all_are_kept() -> None:
    two = 160 * 2**20, 2
    assert faults("host_process.keep_freed_memory()", *two) > 1000
    assert faults("host_process.keep_all_freed_memory()", *two) < 100


@on_glibc
@pytest.mark.parametrize("function", ["keep_freed_memory", "keep_all_freed_memory"])
def test_the_switch_leaves_malloc_alone(function: str) -> None:
    assert faults(f"host_process.{function}()", 8 * 2**20, 8, **{SWITCH: "leave"}) > 1000


@pytest.mark.parametrize("platform_name", ["win32", "darwin"])
def test_nothing_is_done_elsewhere(platform_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: object) -> None:
        raise TypeError("there is no such library here")

    monkeypatch.setattr("sys.platform", platform_name)
    monkeypatch.setattr("ctypes.CDLL", refuse)
    keep_freed_memory()
    keep_all_freed_memory()


def test_idle_threads_sleep_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = environment(monkeypatch)
    assert int(variables["GOMP_SPINCOUNT"]) < 100_000
    assert variables["OMP_WAIT_POLICY"] == "active"  # else threads that outnumber the cores do not spin
    assert variables["KMP_BLOCKTIME"].isdigit()


@pytest.mark.parametrize(
    "given",
    [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "infinity"}, {SWITCH: "leave"}],
)
def test_what_the_user_has_set_stays(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment(monkeypatch, **given) == given


@pytest.mark.parametrize("program", ["plugin.jobs.preload", "cli.console"])
def test_openmp_is_set_before_pytorch_is_loaded(program: str) -> None:
    """OpenMP reads its variables once, when it is loaded."""
    run_python(
        f"import sys, napari_fewshot_cells.{program} as program\n"
        "assert program.limit_openmp_spinning and 'torch' not in sys.modules"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="nothing is changed elsewhere")
@pytest.mark.parametrize(("switch", "changes"), [("leave", "0 0"), ("", f"2 0 {' '.join(OURS)}")])
def test_the_switch_leaves_the_process_as_it_was(switch: str, changes: str) -> None:
    """Count calls of the C library and frozen objects, list our environment variables, all after loading."""
    assert run_python(CHANGES, **{SWITCH: switch}).strip() == changes
