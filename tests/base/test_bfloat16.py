"""Passes in bfloat16, on processors that multiply it: quicker, and as good."""

from __future__ import annotations

import pytest
import torch

from napari_fewshot_cells.base import bfloat16
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import make_shot, make_support_set
from napari_fewshot_cells.finetune.calibration import calibration_steps
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.prepare import prepare
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.finetune.training_loop import train
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.prediction.metrics import iou
from napari_fewshot_cells.prediction.probability import predict
from napari_fewshot_cells.simulate import fluorescent_cells


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"avx512_f": True, "amx_bf16": True}, True),
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_the_processor_is_asked(monkeypatch, told, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    assert bfloat16.multiplies_bfloat16.__wrapped__() is expected


def test_a_pytorch_that_cannot_tell_computes_as_ever(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert bfloat16.multiplies_bfloat16.__wrapped__() is False


@pytest.mark.parametrize("native", [True, False])
def test_only_passes_on_the_processor_are_in_bfloat16(monkeypatch, native):
    monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda: native)
    network, x = build_network("half-unet", 0), torch.zeros(1, 1, 32, 32)
    with bfloat16.quick_passes("cpu"):
        assert network(x)[0].dtype is (torch.bfloat16 if native else torch.float32)
    with bfloat16.quick_passes("cuda"):
        assert network(x)[0].dtype is torch.float32


@pytest.mark.parametrize("architecture", ["fcrn", "half-unet"])
def test_masks_are_as_good_either_way(monkeypatch, architecture):
    """Emulated where the processor has no such unit: then slow, but the numbers are the same kind."""
    image, labels = fluorescent_cells((160, 160), seed=3)
    plane = to_plane(image, "cells")
    support = make_support_set([make_shot(plane, labels, whole_image=True)])
    start = Model(ModelCard("random", architecture), build_network(architecture, 0))
    found = {}
    for native in (True, False):
        monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda native=native: native)
        model = finish(fine_tune(start, support, recipe=Recipe(crop_size=96).with_steps(25)))
        assert {value.dtype for value in model.network.state_dict().values()} == {torch.float32, torch.int64}
        found[native] = predict(model, plane)
        assert found[native].dtype == "float32"
        assert iou(found[native] > 0.5, labels) > 0.9
    assert abs(found[True] - found[False]).max() > 0  # else nothing was in bfloat16
    assert iou(found[True] > 0.5, found[False] > 0.5) > 0.95


def test_a_threshold_is_the_same_by_quick_passes(monkeypatch):
    monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda: True)
    image, labels = fluorescent_cells((160, 160), seed=3)
    support = make_support_set([make_shot(to_plane(image, "cells"), labels, whole_image=True)])
    start = Model(ModelCard("random", "half-unet"), build_network("half-unet", 0))
    recipe = Recipe(crop_size=96).with_steps(25)
    ready = finish(prepare(start, support, recipe, diameter=None, seed=0, device="cpu"))
    finish(train(ready, recipe))
    found = {
        quick: finish(
            calibration_steps(
                ready.network, ready.samples, batch_norm="support", calibrate=True, quick=quick, device="cpu"
            )
        )
        for quick in (True, False)
    }
    assert found[True].logits[0].dtype == found[False].logits[0].dtype == "float32"
    assert 0 < abs(found[True].logits[0] - found[False].logits[0]).max() < 0.5
    assert found[True].decision_logit == pytest.approx(found[False].decision_logit, abs=0.25)


def test_what_a_model_predicts_does_not_depend_on_the_processor(monkeypatch):
    image, _ = fluorescent_cells((160, 160), seed=3)
    model = Model(ModelCard("random", "half-unet"), build_network("half-unet", 0))
    found = []
    for native in (True, False):
        monkeypatch.setattr(bfloat16, "multiplies_bfloat16", lambda native=native: native)
        found.append(predict(model, to_plane(image, "cells")))
    assert (found[0] == found[1]).all()
