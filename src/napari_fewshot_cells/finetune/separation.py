"""Whether a fine-tuned model cuts touching cells where its contact output says, or by their shape alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.crops import Sample, nearest
from ..data.plane import FloatImage
from ..data.support_set import Shot
from ..prediction.instances import label_instances
from ..prediction.metrics import average_precision
from .calibration import Calibration

CONTACT_LOGIT = 0.0
"""Above it, a pixel of the foreground is between two cells."""

_MOST_SHOTS = 3
"""Complete shots on which the two ways are compared: more change the choice hardly ever, and cost time."""


def choose_contact_logit(
    calibration: Calibration, shots: Sequence[Shot], samples: Sequence[Sample], diameter: float
) -> float | None:
    """The contact logit of a model's card; None if shape alone separates the cells of the shots as well.

    The two ways are compared by their AP at IoU 0.5 on completely annotated shots. If none is complete, the
    touching cells that a person painted in two values decide for the contacts.

    Parameters
    ----------
    calibration : Calibration
        With the logits of contact; without, the result is None.
    shots, samples : sequence of Shot, of Sample
        The support set, and the same at the network's scale.
    diameter : float
        Of a typical object in pixels at the network's scale.
    """
    if not calibration.contacts:
        return None
    complete = [i for i, shot in enumerate(shots) if shot.whole_image and samples[i].contact is not None]
    threshold = calibration.decision_logit
    gains = [
        _gain(shots[i], samples[i], calibration.logits[i] - threshold, calibration.contacts[i], diameter)
        for i in complete[:_MOST_SHOTS]
    ]
    return CONTACT_LOGIT if not gains or np.mean(gains) > 0 else None


def _gain(shot: Shot, sample: Sample, logits: FloatImage, contact: FloatImage, diameter: float) -> float:
    """AP with contacts less AP by shape alone, on one shot at the network's scale."""
    truth = nearest(shot.cells, sample.image.shape)
    foreground, between = _sigmoid(logits), _sigmoid(contact - CONTACT_LOGIT)
    by_shape = label_instances(foreground, diameter=diameter)
    by_contact = label_instances(foreground, contact=between, diameter=diameter)
    return average_precision(by_contact, truth) - average_precision(by_shape, truth)


def _sigmoid(logits: FloatImage) -> FloatImage:
    probability: FloatImage = (1 / (1 + np.exp(-logits.clip(-60, 60)))).astype(np.float32)
    return probability
