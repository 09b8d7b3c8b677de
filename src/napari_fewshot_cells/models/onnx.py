"""Exports a network as ONNX, and checks that onnxruntime computes what PyTorch does."""

from __future__ import annotations

import json
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..base.errors import ModelError
from .model import Model
from .networks import SegmentationNetwork

LARGEST_DIFFERENCE = 1e-4
"""Largest allowed difference between the logits of PyTorch and of onnxruntime."""

OPSET = 17


class _Logits(nn.Module):
    """A network that returns logits only, and pads so that tracing allows any height and width."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        stride = self.network.stride
        x = F.pad(x, (0, -width % stride, 0, -height % stride), mode="replicate")
        return self.network.encode_decode(x)[0][..., :height, :width]


def to_onnx(model: Model) -> bytes:
    """The bytes of an ONNX file: from ``image`` to ``logits``, both float32, (N, 1, H, W), any N, H and W.

    The image is that of `prediction.probability.logit_steps`: normalised, at the network's scale. The logits
    are those of foreground; those of contact are not exported. Batch norm uses the stored statistics. The
    metadata hold the card as JSON, under ``card``.

    Raises
    ------
    ModelError
        The model measures statistics on each image, or the logits of onnxruntime differ from PyTorch's.
    """
    import onnx

    if model.card.batch_norm == "image":
        raise ModelError(
            f"'{model.card.name}' measures its statistics on each image, which other programs cannot do; "
            "fine-tune it and export the fine-tuned model."
        )
    wrapped = _Logits(model.network).eval()
    names = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # PyTorch deprecates its tracing exporter. But it takes 1 s; the new one takes 15 to 30 s, needs
        # onnxscript, and names axes by expressions. Ignore warnings about tracing: we check the result.
        warnings.simplefilter("ignore")
        file = Path(folder) / "network.onnx"
        torch.onnx.export(
            wrapped,
            (torch.zeros(1, 1, 64, 96),),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": names, "logits": names},
        )
        graph = onnx.load(file)
    onnx.helper.set_model_props(graph, {"card": json.dumps(asdict(model.card))})
    onnx.checker.check_model(graph)
    content: bytes = graph.SerializeToString()
    _check(content, wrapped)
    return content


@torch.inference_mode()
def _check(content: bytes, network: nn.Module) -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 64, 96), (2, 1, 101, 77)):
        image = rng.normal(size=shape).astype(np.float32)
        difference = float(np.abs(run_onnx(content, image) - network(torch.from_numpy(image)).numpy()).max())
        if not difference <= LARGEST_DIFFERENCE:
            raise ModelError(
                f"The exported network differs from the model by {difference:g}; no file was written."
            )


def run_onnx(content: bytes, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run an exported network by onnxruntime; image and logits are (N, 1, H, W)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    logits: NDArray[np.float32] = session.run(None, {"image": image})[0]
    return logits
