"""The targets of the comparison: the five real sets, and a simulated domain on which no choice was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skimage.measure import label

from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import Shot, SupportSet, make_shot
from napari_fewshot_cells.datasets.five_sets import SOURCE_NAMES, find_sources
from napari_fewshot_cells.simulate import phase_contrast, scribbles
from napari_fewshot_cells.training.episodes import load_task

PHASE = "phase"
TARGETS = (*SOURCE_NAMES, PHASE)
ANNOTATIONS = ("whole", "scribbles")

N_PHASE = 30  # images


@dataclass(frozen=True, eq=False)
class Target:
    """Images of one domain with their truth.

    Attributes
    ----------
    name : str
    shots : tuple of Shot
        Completely annotated.
    instances : bool
        Whether their labels separate touching objects.
    """

    name: str
    shots: tuple[Shot, ...]
    instances: bool


def load_target(name: str, data: Path) -> Target:
    """Read a source set, or simulate.

    Raises
    ------
    FewShotError
        If the set is missing or cannot be used.
    """
    if name == PHASE:
        return Target(name, tuple(_phase(seed) for seed in range(N_PHASE)), instances=True)
    source = find_sources(data, (name,))[name]
    return Target(name, load_task(source).shots, source.instances)


def annotate(target: Target, support: Sequence[int], annotation: str) -> SupportSet:
    """The support images with whole masks, or with scribbles.

    An image gets the same scribbles in every support set.

    Parameters
    ----------
    target : Target
    support : sequence of int
        Indices of its shots.
    annotation : {"whole", "scribbles"}
    """
    shots = [target.shots[i] for i in support]
    if annotation == "whole":
        return SupportSet(tuple(shots))
    return SupportSet(
        tuple(
            make_shot(
                shot.plane, scribbles(shot.labels if target.instances else label(shot.labels > 0), seed=i)
            )
            for i, shot in zip(support, shots, strict=True)
        )
    )


def _phase(seed: int) -> Shot:
    image, labels = phase_contrast(seed=seed)
    return Shot(to_plane(image, f"{PHASE} {seed}"), labels, whole_image=True)
