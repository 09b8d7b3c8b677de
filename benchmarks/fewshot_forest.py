"""Pixel classification by a random forest on multiscale features, as the usual tools do it.

`fewshot_forest_settings.py` measures the settings that were tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from napari_fewshot_cells.data.plane import FloatImage, Plane, normalise
from napari_fewshot_cells.data.support_set import Shot, SupportSet

_CANDIDATES = np.linspace(0.02, 0.98, 97)  # thresholds


@dataclass(frozen=True)
class ForestSettings:
    """How a forest is grown.

    Attributes
    ----------
    trees : int
    pixels : int
        Most pixels it is grown on: half of them cells, equally many from each shot.
    sigma_max : float
        Widest filter in px. The narrowest is 1 px, and each is twice as wide as the previous.
    smallest_leaf : int
        Pixels.
    """

    trees: int = 100
    pixels: int = 50_000
    sigma_max: float = 16.0
    smallest_leaf: int = 10


@dataclass(frozen=True, eq=False)
class Forest:
    """A grown forest, and the probability above which a pixel is a cell.

    Attributes
    ----------
    classifier : RandomForestClassifier
    settings : ForestSettings
    best : float
        The best threshold on the shots.
    threshold : float
        `best` drawn towards 0.5, which counts as one more shot, as in our own calibration.
    """

    classifier: RandomForestClassifier
    settings: ForestSettings
    best: float
    threshold: float


def grow(support: SupportSet, settings: ForestSettings, seed: int = 0) -> Forest:
    """Grow a forest on annotated pixels, and calibrate its threshold on them.

    A tree is nearly always right about a pixel it has seen. So the threshold is chosen by the votes of the
    trees that have not seen the pixel (out of bag).

    Parameters
    ----------
    support : SupportSet
    settings : ForestSettings
    seed : int
        Of the pixels and the trees.
    """
    rng = np.random.default_rng(seed)
    most = settings.pixels // (2 * support.k_shot)
    parts = [_annotated(shot, settings, most, rng) for shot in support.shots]
    values, is_cell = (np.concatenate(column) for column in zip(*parts, strict=True))
    classifier = RandomForestClassifier(
        settings.trees,
        min_samples_leaf=settings.smallest_leaf,
        # "balanced" would draw rare pixels into nearly every bag, and leave few trees to judge them
        class_weight="balanced_subsample",
        oob_score=True,
        n_jobs=torch.get_num_threads(),  # as for the networks
        random_state=seed,
    ).fit(values, is_cell)
    votes = classifier.oob_decision_function_
    unseen = votes.sum(axis=1) > 0  # with few trees some pixels are in every bag
    n_cell = sum(int((shot.weight * shot.target).sum()) for shot in support.shots)
    n_background = sum(int((shot.weight * (1 - shot.target)).sum()) for shot in support.shots)
    best = best_threshold(votes[unseen, 1], is_cell[unseen], n_cell, n_background)
    return Forest(classifier, settings, best, (support.k_shot * best + 0.5) / (support.k_shot + 1))


def predict(forest: Forest, plane: Plane) -> FloatImage:
    """Share of the votes for cell at each pixel; float32, (H, W)."""
    values = features(plane, forest.settings)
    votes = forest.classifier.predict_proba(values.reshape(-1, values.shape[-1]))[:, 1]
    probability: FloatImage = votes.reshape(plane.shape).astype(np.float32)
    return probability


def features(plane: Plane, settings: ForestSettings) -> NDArray[np.float32]:
    """Intensity, edges and texture at several scales, of each colour channel if there are any; (H, W, F)."""
    in_colour = plane.colour is not None
    image = plane.colour if in_colour else normalise(plane)
    # positional, because scikit-image has renamed the last one, the number of threads
    values: NDArray[np.float32] = multiscale_basic_features(
        image, True, True, True, 1.0, settings.sigma_max, None, torch.get_num_threads(),
        channel_axis=-1 if in_colour else None,
    )  # fmt: skip
    return values


def best_threshold(
    votes: NDArray[np.floating], is_cell: NDArray[np.bool_], n_cell: int, n_background: int
) -> float:
    """The threshold with the highest IoU on all annotated pixels, estimated from a sample of each class.

    Parameters
    ----------
    votes, is_cell : ndarray, (N,)
        Of the sample.
    n_cell, n_background : int
        Annotated pixels of each class, whose proportion differs from the sample's.
    """
    hit_rate, false_rate = (
        1 - np.searchsorted(np.sort(part), _CANDIDATES, side="right") / len(part)
        for part in (votes[is_cell], votes[~is_cell])
    )
    ious = hit_rate * n_cell / (n_cell + false_rate * n_background)
    best = np.flatnonzero(ious >= ious.max() - 1e-3)
    return float(_CANDIDATES[best[len(best) // 2]])  # the middle of a plateau


def _annotated(
    shot: Shot, settings: ForestSettings, most: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Features of at most `most` annotated pixels of each class, (N, F), and which of them are cells."""
    is_cell, annotated = shot.target > 0, shot.weight > 0
    chosen = []
    for part in (is_cell & annotated, ~is_cell & annotated):
        where = np.flatnonzero(part)
        chosen.append(rng.choice(where, min(most, len(where)), replace=False))
    index = np.concatenate(chosen)
    values = features(shot.plane, settings)
    return values.reshape(-1, values.shape[-1])[index], is_cell.ravel()[index]
