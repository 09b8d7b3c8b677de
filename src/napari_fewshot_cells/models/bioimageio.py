"""Exports a model as a package of the bioimage.io model zoo, which many microscopy programs can run.

References
----------
Ouyang et al., "BioImage Model Zoo", 2022; https://bioimage-io.github.io/spec-bioimage-io.
"""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..base.version import __version__
from ..data.plane import PERCENTILES, FloatImage, normalise, to_plane
from .model import Model
from .onnx import OPSET, to_onnx

CITATION = (
    "Y. Dawoud, J. Hornauer, G. Carneiro, V. Belagiannis: Few-Shot Microscopy Image Cell Segmentation. "
    "ECML PKDD 2020, LNCS 12461, pp. 139-154."
)
DOI = "10.48550/arXiv.2007.01671"

_SUMMARY = "Finds cells in microscopy images; fine-tuned on a few annotated images by napari-fewshot-cells."
_TEST_SIDE = 256  # px


def to_package(model: Model) -> bytes:
    """The bytes of a bioimage.io package: a zip file that `bioimageio.spec` validates.

    The package normalises an image whose cells span the canonical diameter, and predicts the calibrated
    probability. Its documentation and its ``config`` explain how to scale an image before and what to do with
    the probability after. Nothing is downloaded.

    Raises
    ------
    ModelError
        See `to_onnx`.
    """
    from bioimageio.spec import ValidationContext, save_bioimageio_package

    # bioimageio.spec leaves files open, and Windows cannot delete an open file
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        image = _test_image(model)
        (folder / "weights.onnx").write_bytes(to_onnx(model))
        (folder / "README.md").write_text(_readme(model), encoding="utf-8")
        np.save(folder / "test_input.npy", image[None, None])
        np.save(folder / "test_output.npy", _probability(model, image)[None, None])
        description = _description(model, np.load(folder / "test_output.npy"))
        with ValidationContext(root=folder, file_name="bioimageio.yaml", log_warnings=False):
            save_bioimageio_package(description, output_path=folder / "package.zip")
        return (folder / "package.zip").read_bytes()


def _test_image(model: Model) -> FloatImage:
    """Simulated cells at the scale of the network's input."""
    from ..simulate import fluorescent_cells

    image, _ = fluorescent_cells((_TEST_SIDE, _TEST_SIDE), seed=0)
    return image.astype(np.float32)


@torch.inference_mode()
def _probability(model: Model, image: FloatImage) -> FloatImage:
    plane = to_plane(-image if _has_dark_cells(model) else image, "test")
    logits, _ = model.network(torch.from_numpy(normalise(plane))[None, None])
    probability: FloatImage = torch.sigmoid(logits - model.card.decision_logit)[0, 0].numpy()
    return probability


def _description(model: Model, test_output: FloatImage) -> dict[str, Any]:
    """The description of a model by version 0.5 of the specification."""
    card, network = model.card, model.network
    # by the specification, the smallest image must be larger than its two halos
    size = {"min": 2 * network.receptive_radius + network.stride, "step": network.stride}
    low, high = PERCENTILES
    return {
        "format_version": "0.5.4",
        "type": "model",
        "name": _zoo_name(card.name),
        "description": _SUMMARY,
        "documentation": "README.md",
        "license": "BSD-3-Clause",
        "cite": [{"text": CITATION, "doi": DOI}],
        "tags": ["few-shot", "cells", "segmentation", "semantic-segmentation", "2d", card.architecture],
        "packaged_by": [{"name": "napari-fewshot-cells"}],
        "inputs": [
            {
                "id": "image",
                "description": f"Grey image in which a cell spans about {card.canonical_diameter:g} px",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["grey"]},
                    {"type": "space", "id": "y", "size": size},
                    {"type": "space", "id": "x", "size": size},
                ],
                "data": {"type": "float32"},
                "preprocessing": [
                    *([_step("scale_linear", gain=-1.0)] if _has_dark_cells(model) else []),
                    _step("scale_range", axes=["channel", "y", "x"], min_percentile=low, max_percentile=high),
                    _step("clip", min=-1.0, max=2.0),
                    _step("scale_linear", gain=2.0, offset=-1.0),
                ],
                "test_tensor": {"source": "test_input.npy"},
            }
        ],
        "outputs": [
            {
                "id": "probability",
                "description": "Probability that a pixel belongs to a cell; above 0.5 it does",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["cell"]},
                    *(
                        {
                            "type": "space",
                            "id": axis,
                            "size": {"tensor_id": "image", "axis_id": axis},
                            "halo": network.receptive_radius,
                        }
                        for axis in "yx"
                    ),
                ],
                "data": {"type": "float32", "range": [0.0, 1.0]},
                "postprocessing": [
                    *([_step("scale_linear", offset=-card.decision_logit)] if card.decision_logit else []),
                    {"id": "sigmoid"},
                ],
                "test_tensor": {"source": "test_output.npy"},
            }
        ],
        "weights": {"onnx": {"source": "weights.onnx", "opset_version": OPSET}},
        "config": {
            "bioimageio": {
                # the usual tolerance, or less as the specification demands if the test output is faint
                "reproducibility_tolerance": [
                    {"absolute_tolerance": min(1e-3, 0.009 * float(test_output.max()))}
                ]
            },
            "napari_fewshot_cells": {
                "card": json.loads(json.dumps(asdict(card))),
                "diameter_in_pixels": card.diameter,
                "canonical_diameter_in_pixels": card.canonical_diameter,
                "scale": card.factor,
                "decision_logit": card.decision_logit,
                "probability_threshold": 0.5,
                "version": __version__,
            },
        },
    }


def _has_dark_cells(model: Model) -> bool:
    """Whether cells are dark in a grey image. A colour mix already makes them bright."""
    return model.card.mix == (-1.0,)


def _step(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"id": name, "kwargs": kwargs}


def _zoo_name(name: str) -> str:
    """A name that the specification allows: 5 to 64 letters, digits and a few other characters."""
    return ("few-shot cells " + re.sub(r"[^A-Za-z0-9_+\- ()]+", "-", name))[:64].strip()


def _readme(model: Model) -> str:
    card = model.card
    size = "The cell size of its training images is unknown: try images at their own scale."
    if card.diameter is not None:
        size = f"Its annotated cells span {card.diameter:.1f} px: resize such images by {card.factor:.4g}."
    mix = ""
    if card.mix is not None and len(card.mix) == 3:
        mix = "First mix colours to grey: {:.4f} red {:+.4f} green {:+.4f} blue.".format(*card.mix)
    borders = ""
    if card.refinement is not None:
        borders = "\n   The plugin also refines borders at full resolution; the package does not."
    contacts = ""
    if card.contact_logit is not None:
        contacts = "\n   The plugin cuts them where the network finds contacts; contacts are not exported."
    sources = "".join(f"- {source.get('name')}: {source.get('licence')}\n" for source in card.sources)
    return _README.format(
        name=card.name,
        summary=_SUMMARY,
        architecture=card.architecture,
        parent=card.parent or "an unnamed network",
        shots=f"{card.k_shot} annotated image{'s' * (card.k_shot != 1)}",
        date=card.date[:10] or "unknown",
        canonical=card.canonical_diameter,
        size=size,
        mix=mix,
        percentiles=" and ".join(map(str, PERCENTILES)),
        logit=card.decision_logit,
        borders=borders,
        contacts=contacts,
        halo=model.network.receptive_radius,
        score=card.score or "No score is stored with this model.",
        notes=card.notes,
        licence=card.licence or "BSD-3-Clause",
        sources=sources or "unknown\n",
        citation=CITATION,
    )


_README = """\
# {name}

{summary} Network: {architecture}; fine-tuned from {parent} on {shots}; date: {date}. {notes}

## Use
1. Resize the image so that a cell spans about {canonical:g} px. {size} {mix}
2. Run the package. It normalises grey values by percentiles {percentiles} of the whole image, so no other
   normalisation is needed.
3. The result is the probability that a pixel belongs to a cell. It includes the threshold that was
   calibrated on the annotated images ({logit:+.3f} as a logit): pixels above 0.5 are cells. Resize the result
   back, then split touching cells, for instance by a watershed of the distance to the background.\
{contacts}{borders}

Batch-norm statistics are fixed, so an image can be predicted in tiles that overlap by {halo} px.

## Validation
Compare the result with masks of held-out images, which fine-tuning did not use, for instance by the
intersection over union of the foreground. {score}

## Licence and sources
Weights: {licence}. Before you publish the package, add yourself as its author, and state the licence of the
annotated images. Fine-tuning started from a network trained on:
{sources}
## Citation
{citation}
"""
