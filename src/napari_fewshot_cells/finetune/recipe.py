"""How to fine-tune: the button's numbers, and the paper's. No torch here."""

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
        Adam steps with one shot, and more for each further one.
    stroked_steps : float
        Times these, where cells of any image are annotated by strokes: little of each crop is annotated then.
    crops, crop_size : int
        Crops of `crop_size` × `crop_size` px in each step.
    lr, weight_decay : float
        Of Adam; the learning rate falls to zero along half a cosine.
    partial_factor, outlined_factor : float
        Of the learning rate, where any image is annotated in part: the less is painted, the more is left to
        what the network knows. The second where it told the cells' outlines; see `outlining`.
    balance : float
        Power of w = background / foreground in L_BCE. 1 is the paper's Eq. 3, which finds too much where
        cells are rare and leaves the repair to the threshold.
    unpainted : bool
        Take unpainted pixels for background where cells are rare; see `unpainted.UnpaintedBackground`.
    rescale : bool
        Feed images so that the annotated objects have the canonical diameter; else at native scale.
    mix : bool
        Show the network the mix of channels in which the annotated cells stand out bright; else grey values.
    calibrate : bool
        Choose the decision threshold on the shots; else 0.5, as in the paper.
    refine : bool
        Learn from completely annotated images, or from strokes, where exactly a cell ends; see `refinement`.
    batch_norm : {"support", "image", "running"}
        Statistics used in prediction: those of the support set's whole images, each image's own, or the
        exponential running averages over the steps, as PyTorch keeps them.
    views : {1, 2, 4}
        Prediction is the mean over an image and its mirror images; see `prediction.FLIPS`.
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
        """The same with so many Adam steps, whatever the support set is."""
        return replace(self, steps=steps, steps_per_shot=0, stroked_steps=1.0)

    def steps_for(self, samples: Sequence[Sample]) -> int:
        """Adam steps with a support set."""
        steps = self.steps + self.steps_per_shot * (len(samples) - 1)
        return round(steps * self.stroked_steps) if any(sample.stroked for sample in samples) else steps

    def lr_for(self, samples: Sequence[Sample]) -> float:
        """The learning rate of the first step with a support set."""
        partial = [sample for sample in samples if not sample.whole]
        if not partial:
            return self.lr
        outlined = all(sample.outlined for sample in partial)
        return self.lr * (self.outlined_factor if outlined else self.partial_factor)


@dataclass(frozen=True)
class PaperRecipe:
    """How the paper fine-tunes. What it does not say is from the authors' code.

    Attributes
    ----------
    epochs : int
        Times that every crop is seen.
    batch : int
        Crops in an Adam step.
    crop_size, stride : int
        Side of a crop, and distance of neighbouring crops, in pixels. The authors' strides are 26 to 50,
        depending on the set.
    min_foreground : int
        Crops with fewer foreground pixels are dropped.
    lr, weight_decay : float
        Of Adam; the learning rate stays.
    learn_affine : bool
        FCRN learns scale and shift of its batch-norm layers, from 0.1 and 0; U-Net never does.
    batch_norm : {"image", "support", "running"}
        Statistics used in prediction. The authors' test code switched stored statistics off, which in the
        PyTorch of 2020 meant those of the test batch itself; "image" is that for a batch of one.
    rescale : bool
        Feed images so that the annotated objects have the canonical diameter; else at native scale.
    calibrate : bool
        Choose the decision threshold that is best on the shots; else 0.5.
    precision : {"32-true", "bf16-mixed"}
        Of the training's passes through the network. Half the time in bfloat16 where the device likes it; the
        authors' were float32. With bfloat16 the threshold is found in it too, where the processor multiplies
        it itself.
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
