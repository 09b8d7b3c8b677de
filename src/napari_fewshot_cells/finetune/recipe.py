"""The settings of fine-tuning: the button's, which are the defaults, and the paper's. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..base.devices import Precision
from ..models.model import BatchNorm

if TYPE_CHECKING:
    from ..data.crops import Sample


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


@dataclass(frozen=True)
class PaperRecipe:
    """How the paper fine-tunes. Settings that it does not state are from the authors' code.

    Attributes
    ----------
    epochs : int
        Passes over all crops.
    batch : int
        Crops in an Adam step.
    crop_size, stride : int
        Side of a crop, and distance between neighbouring crops, in pixels. The authors' strides are 26 to
        50, depending on the set.
    min_foreground : int
        Crops with fewer foreground pixels are dropped.
    lr, weight_decay : float
        Of Adam; the learning rate is constant.
    learn_affine : bool
        Whether FCRN learns scale and shift of its batch-norm layers, from 0.1 and 0; U-Net never does.
    batch_norm : {"image", "support", "running"}
        Statistics used in prediction. The authors' test code switched stored statistics off. In the PyTorch
        of 2020 that meant the statistics of the test batch; "image" is the same for a batch of one.
    rescale : bool
        Rescale images so that the annotated objects have the canonical diameter; else keep native scale.
    calibrate : bool
        Choose the decision threshold that is best on the shots; else it is 0.5.
    precision : {"32-true", "bf16-mixed"}
        Of the forward passes in training. bfloat16 takes half the time if the device multiplies it natively;
        the authors used float32. With bfloat16, calibration uses it, too, if the CPU multiplies it natively.
    """

    epochs: int = 20
    batch: int = 64
    crop_size: int = 256
    stride: int = 38
    min_foreground: int = 360
    lr: float = 1e-4
    weight_decay: float = 5e-4
    learn_affine: bool = True
    batch_norm: BatchNorm = "image"
    rescale: bool = False
    calibrate: bool = False
    precision: Precision = "32-true"
