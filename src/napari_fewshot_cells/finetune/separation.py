"""Whether a fine-tuned model cuts touching cells where its contact output says, or by their shape alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.crops import Sample, nearest
from ..data.plane import FloatImage
from ..data.support_set import Shot
from ..prediction.instances import label_instances
from ..prediction.metrics import average_precision, iou
from ..prediction.probability import to_probability
from .calibration import Calibration

CANDIDATES = (-1.5, -1.0, -0.5, 0.0, 0.75)
"""Contact logits to choose from. If walls between cells show few features, contact stays a little below 0."""

_MOST_SHOTS = 2
_SIDE = 256  # px at the network's scale of the middle of a shot: some 80 cells, soon compared


def choose_contact_logit(
    calibration: Calibration, shots: Sequence[Shot], samples: Sequence[Sample], diameter: float
) -> float | None:
    """The contact logit of a model's card; None if shape alone separates the cells of the shots as well.

    On completely annotated shots the highest AP at IoU 0.5 decides, and the logit nearest to 0 if several are
    equal. If no shot is complete, the highest IoU with the painted contacts decides.

    Parameters
    ----------
    calibration : Calibration
        With the logits of contact; without, the result is None.
    shots, samples : sequence of Shot, of Sample
        The support set, and the same at the network's scale.
    diameter : float
        Of a typical object in pixels at the network's scale.
    """
    touching = [i for i, sample in enumerate(samples) if calibration.contacts and sample.contact is not None]
    complete = [i for i in touching if shots[i].whole_image][:_MOST_SHOTS]
    if not touching:
        return None
    if not complete:
        by_iou = [_contact_ious(calibration.contacts[i], samples[i]) for i in touching]
        return _best(np.mean(by_iou, axis=0))
    gains = [
        _gains(
            shots[i], calibration.logits[i] - calibration.decision_logit, calibration.contacts[i], diameter
        )
        for i in complete
    ]
    mean = np.mean(gains, axis=0)
    return _best(mean) if mean.max() > 0 else None


def _best(scores: Sequence[float]) -> float:
    return max(zip(scores, CANDIDATES, strict=True), key=lambda pair: (pair[0], -abs(pair[1])))[1]


def _gains(shot: Shot, logits: FloatImage, contact: FloatImage, diameter: float) -> list[float]:
    """AP with each candidate less AP by shape alone, in the middle of a shot at the network's scale."""
    first = [max(0, (side - _SIDE) // 2) for side in logits.shape]
    middle = tuple(slice(at, at + _SIDE) for at in first)
    truth = nearest(shot.cells, logits.shape)[middle]
    shape = truth.shape
    foreground, contact = to_probability(logits[middle], 0.0, shape), contact[middle]
    by_shape = average_precision(label_instances(foreground, diameter=diameter), truth)
    found = [
        label_instances(foreground, contact=to_probability(contact, t, shape), diameter=diameter)
        for t in CANDIDATES
    ]
    return [average_precision(labels, truth) - by_shape for labels in found]


def _contact_ious(contact: FloatImage, sample: Sample) -> list[float]:
    """IoU with the painted contacts, where the annotation shows them, for each candidate."""
    assert sample.contact is not None, "only samples with contacts are asked"
    known = sample.contact_weight == 1
    return [iou(contact[known] > candidate, sample.contact[known]) for candidate in CANDIDATES]
