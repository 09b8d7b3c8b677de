"""Names of devices."""

from __future__ import annotations

import pytest

from napari_fewshot_cells.base.devices import check_device_name, choose_device
from napari_fewshot_cells.base.errors import FewShotError


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_names_that_there_are(name):
    check_device_name(name)


@pytest.mark.parametrize("name", ["", "abacus", "cuda:", "cuda:x", "cpu:0", "mps:1", "CPU"])
def test_names_that_there_are_not(name):
    for check in (check_device_name, choose_device):
        with pytest.raises(FewShotError, match=f"no device '{name}'; choose auto, cpu, cuda or mps"):
            check(name)


def test_the_processor_is_always_there():
    assert str(choose_device("cpu")) == "cpu"
