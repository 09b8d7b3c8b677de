"""Teach a start where cells touch: train its contact output alone, on features that stay as they are.

Few sets number cells that touch, and those that do may differ from the sets of the start. A head of a few
hundred weights learns contacts from them in minutes, and cannot unlearn what the start knows: the foreground
stays bit for bit the same.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain, islice

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.bfloat16 import quick_passes
from ..base.errors import ModelError
from ..data.channel_mix import Mix, fisher_mix, mix_channels
from ..data.contacts import contact_zone
from ..data.crops import CONTACT_RADIUS, Batch, Sample, augment_crop, corner_near, cut_crop, nearest
from ..data.image_files import read_labels, read_plane
from ..data.plane import FloatImage, Labels, normalise, rescale
from ..data.support_set import MOST_SHOTS, Shot, SupportSet, median_diameter
from ..datasets.five_sets import SourceSet
from ..finetune.prepare import LARGEST_FACTOR, SMALLEST_FACTOR
from ..models.losses import contact_loss
from ..models.model import Model, ModelCard
from ..models.networks import knows_contacts, learn_contacts
from . import provenance
from .budget import Budget
from .config import ContactConfig


@dataclass(frozen=True)
class ContactProgress:
    """The state after an Adam step.

    Attributes
    ----------
    iteration : int
        Adam steps done.
    seconds : float
        Trained so far, without the time to read the sets.
    loss : float
        `losses.contact_loss` of the step.
    """

    iteration: int
    seconds: float
    loss: float


@dataclass(frozen=True, eq=False)
class CellImage:
    """An image with numbered cells at its own scale.

    Attributes
    ----------
    pixels : ndarray, float16, (H, W)
        Normalised, in the mix of channels of its set. float16 halves the memory.
    cells : ndarray, int32, (H, W)
        Labels of the cells, 0 elsewhere.
    factor : float
        Canonical diameter over the median diameter of the image's cells.
    """

    pixels: NDArray[np.float16]
    cells: Labels
    factor: float

    @cached_property
    def foreground(self) -> NDArray[np.int32]:
        """Flat indices of the pixels of cells."""
        return np.flatnonzero(self.cells).astype(np.int32)


def contact_train(
    start: Model, sources: Sequence[SourceSet], config: ContactConfig, budget: Budget, *, command: str
) -> Generator[ContactProgress, None, Model]:
    """Train the contact output of a start until the budget is spent; the sets take turns, one a step.

    The features are those of training: batch norm uses the statistics of the batch. A start that has the
    output already continues with it. Closing the generator leaves nothing behind.

    Parameters
    ----------
    start : Model
    sources : sequence of SourceSet
        See `own_sets.choose_touching_sources`.
    config : ContactConfig
    budget : Budget
        Its `meta_steps` are Adam steps here. The same number of steps gives the same model.
    command : str
        For the card.

    Yields
    ------
    ContactProgress

    Returns
    -------
    Model
        The start with the contact output; all other weights and all batch-norm statistics are the start's.

    Raises
    ------
    ModelError
        The network of the start cannot have the output.
    FewShotError
        A file cannot be used.
    """
    learned = copy.deepcopy(start.network)
    learn_contacts(learned)
    if not knows_contacts(learned):
        raise ModelError(
            f"The network {start.card.architecture} cannot learn where cells touch; start from half-unet."
        )
    sets = [read_cells(source, config, start.card.canonical_diameter) for source in sources]
    network = copy.deepcopy(learned)  # its batch norm will average the batches; that of `learned` must not
    network.requires_grad_(False).train()
    head = network.contact_head
    assert head is not None, "it knows contacts"
    head.requires_grad_(True)
    adam = torch.optim.Adam(head.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    last, started = ContactProgress(0, 0.0, 0.0), time.perf_counter()
    while not budget.is_spent(last.iteration, last.seconds):
        step = last.iteration
        batch = draw_contacts(sets[step % len(sets)], config, np.random.default_rng([config.seed, step]))
        adam.param_groups[0]["lr"] = config.lr_at(step, budget.share(step, last.seconds))
        adam.zero_grad()
        with quick_passes("cpu"):
            logits = network.with_contacts(batch.image.contiguous(memory_format=torch.channels_last))
        loss = contact_loss(logits[:, 1:].float(), batch.target, batch.weight)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        last = ContactProgress(step + 1, time.perf_counter() - started, loss.item())
        yield last
    learned.contact_head = head
    images = {source.name: len(read) for source, read in zip(sources, sets, strict=True)}
    return Model(_contact_card(start.card, sources, images, config, last, command), learned)


def read_cells(source: SourceSet, config: ContactConfig, canonical: float) -> list[CellImage]:
    """Read some images of a set, chosen by the seed; those without a cell do not count.

    Parameters
    ----------
    source : SourceSet
    config : ContactConfig
    canonical : float
        The start's canonical diameter in pixels.
    """
    order = np.random.default_rng(config.seed).permutation(len(source.pairs))
    every = (_read(source, int(i)) for i in order)
    shots = islice((shot for shot in every if shot.target.any()), config.images)
    first = tuple(islice(shots, MOST_SHOTS))
    mix = fisher_mix(SupportSet(first))
    return [_cell_image(shot, mix, canonical) for shot in chain(first, shots)]


def draw_contacts(images: Sequence[CellImage], config: ContactConfig, rng: np.random.Generator) -> Batch:
    """Crops of random images, every other one around a cell. Their target is contact.

    The weight is 1 in cells and in contacts, else 0: beside cells, contact does not matter.
    """
    stacks = [
        _crop(images[i], config, rng, foreground=turn % 2 == 0)
        for turn, i in enumerate(rng.integers(len(images), size=config.batch))
    ]
    image, contact, weight = torch.from_numpy(np.ascontiguousarray(stacks)).unbind(dim=1)
    return Batch(image[:, None], contact[:, None], weight[:, None])


def _read(source: SourceSet, i: int) -> Shot:
    image, mask = source.pairs[i]
    return Shot(read_plane(image), read_labels(mask), whole_image=True)


def _cell_image(shot: Shot, mix: Mix, canonical: float) -> CellImage:
    pixels = normalise(mix_channels(shot.plane, mix)).astype(np.float16)
    factor = canonical / median_diameter(SupportSet((shot,)))
    return CellImage(pixels, shot.cells, float(np.clip(factor, SMALLEST_FACTOR, LARGEST_FACTOR)))


def _crop(
    image: CellImage, config: ContactConfig, rng: np.random.Generator, *, foreground: bool
) -> FloatImage:
    """Image, contact and weight: float32, (3, crop_size, crop_size). Cut first and rescaled afterwards."""
    jitter = np.exp(rng.uniform(-1, 1) * np.log(config.scale_jitter))
    size = config.crop_size
    side = max(1, round(size / (image.factor * jitter)))
    height, width = image.cells.shape
    index = rng.choice(image.foreground) if foreground else rng.integers(image.cells.size)
    row, column = corner_near(divmod(int(index), width), (height, width), side, rng)
    window = np.s_[row : row + side, column : column + side]
    native = image.pixels[window].astype(np.float32)
    sample = Sample(native, image.cells[window].astype(np.float32), np.ones_like(native))
    pixels, numbers, inside = cut_crop(sample, (0, 0), side)
    cells = nearest((numbers * inside).astype(np.int32), (size, size))
    contact = contact_zone(cells, CONTACT_RADIUS)
    weight = (cells > 0) | contact
    stack = np.stack([rescale(pixels, size / side), contact, weight]).astype(np.float32)
    return augment_crop(stack, rng)


def _contact_card(
    card: ModelCard,
    sources: Sequence[SourceSet],
    images: dict[str, int],
    config: ContactConfig,
    last: ContactProgress,
    command: str,
) -> ModelCard:
    """The start's card, with what its contact output was made from and how."""
    known = {source["name"] for source in card.sources}
    further = [
        {"name": s.name, "images": images[s.name], "licence": s.licence, "citation": s.citation}
        for s in sources
        if s.name not in known
    ]
    done = {**asdict(config), "iterations": last.iteration, "seconds": round(last.seconds, 1)}
    return replace(
        card,
        sources=(*card.sources, *further),
        hyper_parameters={**card.hyper_parameters, "contacts": done},
        commit=_joined(card.commit, provenance.commit(), "; "),
        command=_joined(card.command, command, " && "),
        date=provenance.now(),
        machine=_joined(card.machine, provenance.machine(), "; "),
        notes=_joined(card.notes, f"Contact output trained on {', '.join(images)}.", " "),
    )


def _joined(before: str, now: str, mark: str) -> str:
    return mark.join(dict.fromkeys(part for part in (before, now) if part))
