"""The methods a user could pick to segment cells after annotating a few images, behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from skimage.filters import threshold_otsu

import fewshot_forest
from fewshot_forest import ForestSettings
from napari_fewshot_cells.base.devices import Precision
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.plane import Plane, normalise
from napari_fewshot_cells.data.support_set import Shot, SupportSet
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.paper_recipe import paper_fine_tune
from napari_fewshot_cells.finetune.recipe import PaperRecipe, Recipe
from napari_fewshot_cells.models.model import Model, ModelCard
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.prediction.metrics import iou
from napari_fewshot_cells.prediction.probability import CellMaps, predict_cells

METHODS = (
    "otsu", "forest", "random-fcrn", "random-unet", "random-half-unet", "paper", "transfer", "fcrn", "ours",
)  # fmt: skip

TRANSFER, COMPLETE, OURS = ("fcrn", "transfer"), ("fcrn", "complete"), ("half-unet", "transfer")
"""The starts: network and training method."""

Starts = Callable[[tuple[str, str]], Model]
"""From network and training method to the trained start."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A method fitted to a support set.

    Attributes
    ----------
    predict : function from Plane to CellMaps
        Probability that each pixel is in a cell and, if the method knows it, that it is between two.
    threshold : float
        Probability above which a pixel counts as cell.
    """

    predict: Callable[[Plane], CellMaps]
    threshold: float


Fit = Callable[[SupportSet, Starts, int], Fitted]
"""From support set, starts and seed."""


@dataclass(frozen=True, eq=False)
class Variant:
    """A method with one setting of its effort.

    Attributes
    ----------
    method : str
        One of `METHODS`.
    setting : str
        The effort in words: steps, epochs, trees.
    fit : Fit
    start : tuple of str, optional
        Network and training method of the start that it needs.
    """

    method: str
    setting: str
    fit: Fit
    start: tuple[str, str] | None = None

    @property
    def takes_scribbles(self) -> bool:
        """Whether it works on scribbles: the paper's fine-tuning needs whole masks."""
        return self.method != "paper"


def variants(
    device: str = "cpu",
    steps: Sequence[int] = (),
    epochs: Sequence[int] = (PaperRecipe().epochs,),
    trees: Sequence[int] = (ForestSettings().trees,),
    pixels: Sequence[int] = (ForestSettings().pixels,),
    precision: Precision = "32-true",
) -> list[Variant]:
    """All methods, each with every setting asked for; by default with its standard one."""
    forests = [ForestSettings(trees=t, pixels=p) for t in trees for p in pixels]
    recipes = {f"{n} steps": Recipe().with_steps(n) for n in steps} or {"button": Recipe()}
    papers = {f"{n} epochs": PaperRecipe(epochs=n, precision=precision) for n in epochs}
    return [
        Variant("otsu", "", otsu),
        *(Variant("forest", f"{f.trees} trees, {f.pixels} pixels", partial(forest, f)) for f in forests),
        *(
            Variant(f"random-{arch}", setting, partial(random_start, arch, recipe, device))
            for arch in ("fcrn", "unet", "half-unet")
            for setting, recipe in recipes.items()
        ),
        *(Variant("paper", s, partial(paper, r, device), COMPLETE) for s, r in papers.items()),
        *(
            Variant(method, s, partial(button, start, r, device), start)
            for method, start in (("transfer", TRANSFER), ("fcrn", COMPLETE), ("ours", OURS))
            for s, r in recipes.items()
        ),
    ]


def otsu(support: SupportSet, starts: Starts, seed: int) -> Fitted:
    """Otsu's threshold of each image; the shots decide whether cells are above or below it."""
    bright = max((True, False), key=lambda bright: np.mean([_agreement(s, bright) for s in support.shots]))
    return Fitted(lambda plane: CellMaps(_otsu(plane, bright).astype(np.float32)), 0.5)


def forest(settings: ForestSettings, support: SupportSet, starts: Starts, seed: int) -> Fitted:
    """A random forest on multiscale features."""
    grown = fewshot_forest.grow(support, settings, seed)
    return Fitted(lambda plane: CellMaps(fewshot_forest.predict(grown, plane)), grown.threshold)


def random_start(
    architecture: str, recipe: Recipe, device: str, support: SupportSet, starts: Starts, seed: int
) -> Fitted:
    """Random weights, the button's recipe."""
    model = Model(ModelCard("random", architecture), build_network(architecture, seed))
    return _predictor(finish(fine_tune(model, support, recipe=recipe, seed=seed, device=device)), device)


def button(
    start: tuple[str, str], recipe: Recipe, device: str, support: SupportSet, starts: Starts, seed: int
) -> Fitted:
    """A trained start, the button's recipe."""
    model = finish(fine_tune(starts(start), support, recipe=recipe, seed=seed, device=device))
    return _predictor(model, device)


def paper(recipe: PaperRecipe, device: str, support: SupportSet, starts: Starts, seed: int) -> Fitted:
    """A start trained with the complete loss, the paper's recipe."""
    model = finish(paper_fine_tune(starts(COMPLETE), support, recipe=recipe, seed=seed, device=device))
    return _predictor(model, device)


def _predictor(model: Model, device: str) -> Fitted:
    return Fitted(lambda plane: predict_cells(model, plane, device=device), 0.5)  # calibrated to 0.5


def _otsu(plane: Plane, bright: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    image = normalise(plane)
    return (image > threshold_otsu(image)) == bright


def _agreement(shot: Shot, bright: bool) -> float:
    annotated = shot.weight > 0
    return iou(_otsu(shot.plane, bright)[annotated], shot.target[annotated])
