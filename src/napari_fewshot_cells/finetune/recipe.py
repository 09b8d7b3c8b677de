"""The settings of fine-tuning; the defaults are the button's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..data.crops import Sample
from ..models.model import BatchNorm


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune. The defaults are the button's.

    Attributes
    ----------
    steps, steps_per_shot : int
        Adam steps with one shot, and additional steps for each further shot.
    stroked_steps : float
        Factor of the steps if cells of any image are annotated by strokes, because strokes cover little of
        each crop.
    crops, crop_size : int
        Each step uses `crops` crops of `crop_size` × `crop_size` px.
    lr, weight_decay : float
        Of Adam; the learning rate falls to zero along half a cosine.
    partial_factor, outlined_factor : float
        Factors of the learning rate if any image is partly annotated, so that the network changes less where
        nothing is painted. The second holds if all of these have pseudo-labels; see `stroke_outlines`.
    balance : float
        Power of w = background / foreground in L_BCE. 1 is the paper's Eq. 3: if cells are rare, the network
        then finds too much, and the threshold must correct that.
    unpainted : bool
        Count unpainted pixels as background if cells are rare; see `UnpaintedBackground`.
    rescale : bool
        Rescale images so that the annotated objects have the canonical diameter; else keep native scale.
    mix : bool
        Mix the channels so that the annotated cells stand out bright; else use grey values.
    calibrate : bool
        Choose the decision threshold on the shots; else it is 0.5, as in the paper.
    refine : bool
        Fit a border refinement to completely annotated images, or to strokes; see `fit_borders`.
    batch_norm : {"support", "image", "running"}
        Statistics used in prediction: those of the support set's whole images, those of the predicted image,
        or PyTorch's exponential running averages over the steps.
    views : {1, 2, 4}
        Prediction is the mean over this number of mirror images; see `prediction.probability.FLIPS`.
    """

    steps: int = 60
    steps_per_shot: int = 5
    stroked_steps: float = 1.5
    crops: int = 4
    crop_size: int = 128
    lr: float = 1e-3
    partial_factor: float = 0.3
    outlined_factor: float = 0.6
    weight_decay: float = 5e-4
    balance: float = 0.5
    unpainted: bool = True
    rescale: bool = True
    mix: bool = True
    calibrate: bool = True
    refine: bool = True
    batch_norm: BatchNorm = "support"
    views: int = 4

    def with_steps(self, steps: int) -> Recipe:
        """The same recipe with this number of Adam steps, whatever the support set."""
        return replace(self, steps=steps, steps_per_shot=0, stroked_steps=1.0)

    def steps_for(self, samples: Sequence[Sample]) -> int:
        """Number of Adam steps with a support set."""
        steps = self.steps + self.steps_per_shot * (len(samples) - 1)
        return round(steps * self.stroked_steps) if any(sample.stroked for sample in samples) else steps

    def lr_for(self, samples: Sequence[Sample]) -> float:
        """Learning rate of the first step with a support set."""
        partial = [sample for sample in samples if not sample.whole]
        if not partial:
            return self.lr
        outlined = all(sample.outlined for sample in partial)
        return self.lr * (self.outlined_factor if outlined else self.partial_factor)
