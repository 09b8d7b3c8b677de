"""Source sets as tasks, and the episodes that Reptile draws from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..data.channel_mix import fisher_mix, mix_channels
from ..data.crops import Batch, Sample, rescale_sample, sample_crops, to_sample
from ..data.image_files import read_labels, read_plane
from ..data.support_set import Shot, SupportSet, median_diameter
from ..datasets.five_sets import SourceSet
from ..models.model import CANONICAL_DIAMETER
from .config import EpisodeShape


@dataclass(frozen=True, eq=False)
class Task:
    """One source set S_m, ready for drawing: fully annotated images and their object diameters.

    Attributes
    ----------
    name : str
    shots : tuple of Shot
    samples : tuple of Sample
        The shots at native scale, normalised once: grey values, or the mix of `seen_bright`.
    diameters : tuple of float
        Median object diameter of each image in pixels.
    """

    name: str
    shots: tuple[Shot, ...]
    samples: tuple[Sample, ...]
    diameters: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Episode:
    """The data of one inner loop of Algorithm 1: S̃_m with masks, S̃_n and S̃_p without.

    Attributes
    ----------
    annotated : tuple of Batch
        Crops of S̃_m, one batch for each inner step.
    other_n, other_p : tuple of Tensor, float32, (N, 1, S, S)
        Crops of two other domains, one batch for each inner step; empty if they are not needed.
    """

    annotated: tuple[Batch, ...]
    other_n: tuple[Tensor, ...]
    other_p: tuple[Tensor, ...]


def load_task(source: SourceSet) -> Task:
    """Read a source set into memory. Images with an empty mask are skipped, because they have no object size.

    Raises
    ------
    FewShotError
        If a file cannot be used.
    """
    shots, diameters = [], []
    for image, mask in source.pairs:
        shot = Shot(read_plane(image), read_labels(mask), whole_image=True)
        if shot.target.any():
            shots.append(shot)
            diameters.append(median_diameter(SupportSet((shot,))))
    samples = tuple(to_sample(shot, 1) for shot in shots)
    return Task(source.name, tuple(shots), samples, tuple(diameters))


def seen_bright(task: Task) -> Task:
    """The same set in the mix of channels in which its objects are bright; see `channel_mix.fisher_mix`."""
    mix = fisher_mix(SupportSet(task.shots))
    samples = tuple(to_sample(replace(shot, plane=mix_channels(shot.plane, mix)), 1) for shot in task.shots)
    return replace(task, samples=samples)


def draw_episode(
    tasks: Sequence[Task],
    m: int,
    shape: EpisodeShape,
    rng: np.random.Generator,
    *,
    needs_n: bool = True,
    needs_p: bool = True,
    allow_same: bool = True,
) -> Episode:
    """Draw S̃_m, S̃_n and S̃_p, with n, p ≠ m at random.

    The random stream is read in this order: n and p, then S̃_m, S̃_n and S̃_p. n and p are always drawn (if
    there is another task at all), whereas a set that is not needed reads nothing. So S̃_m is the same
    whichever losses are on.

    Parameters
    ----------
    tasks : sequence of Task
    m : int
    shape : EpisodeShape
    rng : numpy.random.Generator
    needs_n, needs_p : bool
        Whether to draw S̃_n, for L_ER, and S̃_p, for L_D.
    allow_same : bool
        Whether n = p is allowed, as in the paper.

    Raises
    ------
    ValueError
        If there are too few other domains for the sets that are needed.
    """
    others = [i for i in range(len(tasks)) if i != m]
    if len(others) < 1 and (needs_n or needs_p):
        raise ValueError("Reptile with L_ER or L_D needs at least two source sets.")
    if len(others) < 2 and needs_n and needs_p and not allow_same:
        raise ValueError(
            "Reptile with L_ER and L_D on two distinct domains needs at least three source sets."
        )
    n, p = rng.choice(others, size=2, replace=allow_same or len(others) < 2) if others else (m, m)

    def batches(task: Task, crops: int) -> tuple[Batch, ...]:
        samples = _draw_samples(task, shape, rng)
        return tuple(sample_crops(samples, crops, shape.crop_size, rng) for _ in range(shape.inner_steps))

    def images(task: Task) -> tuple[Tensor, ...]:
        return tuple(batch.image for batch in batches(task, shape.other_crops))

    return Episode(
        annotated=batches(tasks[m], shape.crops),
        other_n=images(tasks[n]) if needs_n else (),
        other_p=images(tasks[p]) if needs_p else (),
    )


def _draw_samples(task: Task, shape: EpisodeShape, rng: np.random.Generator) -> list[Sample]:
    chosen = rng.choice(len(task.shots), size=min(shape.k_shot, len(task.shots)), replace=False)
    jitter = np.exp(rng.uniform(-1, 1) * np.log(shape.scale_jitter))  # one scale for the whole domain
    samples = []
    for i in chosen:
        factor = CANONICAL_DIAMETER / task.diameters[i] if shape.rescale else 1.0
        samples.append(rescale_sample(task.samples[i], factor * jitter))
    return samples


def to_device(episode: Episode, device: torch.device) -> Episode:
    """The same episode on another device, with images channels-last."""

    def moved(image: Tensor) -> Tensor:
        return image.to(device, memory_format=torch.channels_last)

    return Episode(
        annotated=tuple(
            Batch(moved(b.image), b.target.to(device), b.weight.to(device)) for b in episode.annotated
        ),
        other_n=tuple(map(moved, episode.other_n)),
        other_p=tuple(map(moved, episode.other_p)),
    )
