"""Device, precision and ranks of a training."""

from __future__ import annotations

import signal

import pytest
import torch

from napari_fewshot_cells.base.devices import choose_device, choose_precision
from napari_fewshot_cells.base.errors import FewShotError
from napari_fewshot_cells.training.ranks import (
    is_first_rank,
    largest_over_ranks,
    open_fabric,
    stop_requests,
    sum_over_ranks,
)


def test_one_process_is_rank_0_of_1_and_keeps_its_threads():
    threads = torch.get_num_threads()
    fabric = open_fabric()
    assert (fabric.global_rank, fabric.world_size, fabric.device) == (0, 1, torch.device("cpu"))
    assert torch.get_num_threads() == threads
    assert is_first_rank()


def test_sums_and_maxima_of_one_rank_are_its_own():
    fabric = open_fabric()
    change = torch.rand(3)
    assert sum_over_ranks(fabric, {"w": change})["w"] is change
    assert largest_over_ranks(fabric, 1 / 3) == 1 / 3


def test_a_batch_system_around_us_is_not_ours(monkeypatch):
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "2"}.items():
        monkeypatch.setenv(name, value)
    assert open_fabric().world_size == 1


@pytest.mark.parametrize(
    ("cuda", "mps", "device"), [(2, True, "cuda"), (0, True, "mps"), (2, False, "cuda"), (0, False, "cpu")]
)
def test_auto_is_the_best_device_there_is(monkeypatch, cuda, mps, device):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(device)


def test_devices_that_are_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("cuda:0") == torch.device("cuda:0")
    for device in ("cuda:1", "mps"):
        with pytest.raises(FewShotError, match="not available to PyTorch here; use --device cpu"):
            open_fabric(device)
    for device in ("tpu", "cuda:", "cuda:x", "cpu:0"):
        with pytest.raises(FewShotError, match="choose auto, cpu, cuda or mps"):
            open_fabric(device)


@pytest.mark.parametrize("supported", [True, False])
def test_auto_precision_is_bf16_where_the_device_likes_it(monkeypatch, supported):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert choose_precision("auto", torch.device("cuda")) == ("bf16-mixed" if supported else "32-true")
    monkeypatch.setattr("napari_fewshot_cells.base.devices.multiplies_bfloat16", lambda: supported)
    assert choose_precision("auto", torch.device("cpu")) == ("bf16-mixed" if supported else "32-true")
    assert choose_precision("auto", torch.device("mps")) == "32-true"
    assert choose_precision("bf16-mixed", torch.device("cpu")) == "bf16-mixed"


def test_unknown_precision():
    with pytest.raises(FewShotError, match="choose 32-true, bf16-mixed or auto"):
        open_fabric("cpu", "16")


def test_bf16_is_for_the_passes_through_the_network_alone():
    fabric = open_fabric("cpu", "bf16-mixed")
    layer = torch.nn.Linear(2, 2)
    with fabric.autocast():
        assert layer(torch.rand(1, 2)).dtype == torch.bfloat16
    assert layer.weight.dtype == torch.float32


def test_ranks_that_cannot_share_a_device(monkeypatch):
    ranks = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "RANK": "1"}
    for name, value in ranks.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert not is_first_rank()
    with pytest.raises(FewShotError, match="4 ranks were started on 2 CUDA devices"):
        open_fabric("cuda")
    with pytest.raises(FewShotError, match="Several ranks cannot share 'cuda:1'"):
        open_fabric("cuda:1")


class TwoRanks:
    world_size = 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_with_ranks_a_signal_is_noted_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with stop_requests(TwoRanks()) as asked_to_stop:
        assert not asked_to_stop()
        signal.raise_signal(number)
        assert asked_to_stop()
    assert signal.getsignal(number) == before


def test_one_rank_is_interrupted_at_once():
    with stop_requests(open_fabric()) as asked_to_stop:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert not asked_to_stop()
