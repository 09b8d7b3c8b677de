"""How well touching cells are separated: by their shape alone, and with the contact output.

python benchmarks/cells.py --data DATA --starts STARTS [--domains B39 he_nuclei] [--out FILE]

DATA holds B39 and more/DOMAIN, each with images/NAME.png and masks/NAME.png; missing ones are skipped.
STARTS/DOMAIN.safetensors is a start with a contact output that has not seen the domain. Both ways begin with
it: `shape` with the contact output removed, `contact` as it is. Writes docs/results/cells.csv row by row; a
stopped run continues where it was. Two processes can share the work: give each its own --domains and --out.
`benchmarks/cells_report.py` makes docs/results/cells.md from one or more such files. Times count only if
nothing else runs.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from skimage.measure import label
from skimage.segmentation import watershed

from fewshot import rows_so_far, without_specks
from fewshot_targets import ANNOTATIONS as PLAIN_ANNOTATIONS
from fewshot_targets import Target, annotate
from napari_fewshot_cells.base.errors import AnnotationError, FewShotError, ModelError
from napari_fewshot_cells.base.host_process import keep_all_freed_memory
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.channel_mix import fisher_mix
from napari_fewshot_cells.data.contacts import touching_cells
from napari_fewshot_cells.data.image_files import pair_by_stem, read_labels, read_plane
from napari_fewshot_cells.data.plane import Labels
from napari_fewshot_cells.data.support_set import Shot, SupportSet, make_shot
from napari_fewshot_cells.datasets.five_sets import SOURCE_NAMES
from napari_fewshot_cells.finetune import prepare
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.prepare import to_samples
from napari_fewshot_cells.models.model import Model
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.models.networks import ContactNetwork, knows_contacts
from napari_fewshot_cells.prediction.instances import Mask, drop_small, label_instances, usual_min_size
from napari_fewshot_cells.prediction.metrics import InstanceScore, averaged, score
from napari_fewshot_cells.prediction.probability import predict_cells
from napari_fewshot_cells.training import provenance
from napari_fewshot_cells.training.curves_csv import append_rows

DOMAINS = (
    "B39", "phase_glioma", "bacteria_phase", "fluo_cytoplasm", "tissue_membrane", "he_nuclei", "em_neurites",
    "fluo_nuclei_sim", "yeast_brightfield", "plant_ovule",
)  # fmt: skip
K_SHOTS = (1, 5)
FEW_IMAGES = 7  # a domain with no more has K = 1 only, so that enough images are left for the test
N_TEST = 6

PAIRS = "pairs"
ANNOTATIONS = (*PLAIN_ANNOTATIONS, PAIRS)
N_PAIRS = 2

SHAPE, CONTACT, RIGHTLY = "shape", "contact", "if cut rightly"
METHODS = (SHAPE, CONTACT, RIGHTLY)

KEY = ("domain", "k_shot", "annotation", "selection", "seed", "method")
MEANS = ("iou", "ap50", "ap75", "mean_ap", "pq", "f1", "recall_touching", "recall_isolated")
COUNTS = ("n_predicted", "n_truth")
COLUMNS = (*KEY, *MEANS, *COUNTS, "fit_seconds", "n_test", "uses_contacts", "commit", "date", "machine")
"""Scores are means over the test images, counts are totals. fit_seconds: from press to model. uses_contacts:
whether the fine-tuned model cuts where its contact output says; it may find shape alone as good."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every missing cell of the table."""
    options = parse(arguments)
    keep_all_freed_memory()
    torch.set_num_threads(options.threads)
    try:
        run(options)
    except FewShotError as error:
        raise SystemExit(str(error)) from error


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--starts", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results/cells.csv"))
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=DOMAINS)
    parser.add_argument("--k-shots", nargs="+", type=int, choices=K_SHOTS, default=K_SHOTS)
    parser.add_argument("--annotations", nargs="+", choices=ANNOTATIONS, default=ANNOTATIONS)
    parser.add_argument(
        "--selections", nargs="+", type=int, default=[0], help="seeds of the orders of images"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the fine-tuning")
    parser.add_argument("--n-test", type=int, default=N_TEST)
    parser.add_argument("--threads", type=int, default=1, help="of the networks")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Measure what is missing, selection by selection."""

    @lru_cache(maxsize=1)
    def target_of(name: str) -> Target:
        return load_domain(name, options.data)

    domains = []
    for name in options.domains:
        if folder_of(name, options.data).is_dir():
            domains.append(name)
        else:
            print(f"skipped {name}: there is no folder '{folder_of(name, options.data)}'", flush=True)
    starts = {name: read_start(name, options.starts) for name in domains}
    rows = rows_so_far(options.out, COLUMNS)
    done = {tuple(row[column] for column in KEY) for row in rows}
    for selection, name, k_shot, annotation in itertools.product(
        options.selections, domains, options.k_shots, options.annotations
    ):
        keys = {
            seed: [(name, str(k_shot), annotation, str(selection), str(seed), method) for method in METHODS]
            for seed in options.seeds
        }
        missing = [seed for seed in options.seeds if not done.issuperset(keys[seed])]
        if not missing or k_shot > largest_k(len(target_of(name).shots)):
            continue
        target = target_of(name)
        support, test = split(len(target.shots), k_shot, selection, options.n_test)
        check_same_test(rows, name, len(test), options.out)
        try:
            shots = annotated(target, support, annotation)
        except AnnotationError as error:  # strokes find no room between packed cells
            print(f"skipped {name}, K = {k_shot}, {annotation}: {error}", flush=True)
            continue
        for seed in missing:
            found = measure(starts[name], shots, [target.shots[i] for i in test], seed)
            origin = (provenance.commit(), provenance.now(), provenance.machine())
            options.out.parent.mkdir(parents=True, exist_ok=True)
            append_rows(
                options.out,
                COLUMNS,
                [
                    (*key, *line(found[method], len(test)), *origin)
                    for key, method in zip(keys[seed], METHODS, strict=True)
                    if key not in done
                ],
            )
            scores = ", ".join(f"{m} {averaged(found[m].scores)['ap50']:.3f}" for m in METHODS)
            print(name, k_shot, annotation, selection, seed, "AP50:", scores, flush=True)


# --- images, support sets and starts


def folder_of(name: str, data: Path) -> Path:
    """Folder of a domain: the five sets are in `data` itself, further ones in `data`/more."""
    return data / name if name in SOURCE_NAMES else data / "more" / name


def load_domain(name: str, data: Path) -> Target:
    """Read all images of a domain that show a cell.

    Raises
    ------
    FewShotError
        If a file cannot be used, or there are too few images.
    """
    folder = folder_of(name, data)
    shots = [
        Shot(read_plane(image), labels, whole_image=True)
        for image, mask in pair_by_stem(folder / "images", folder / "masks")
        if (labels := read_labels(mask)).any()
    ]
    if len(shots) < 2:
        raise FewShotError(f"'{folder}' holds {len(shots)} images with cells; at least 2 are needed.")
    return Target(name, tuple(shots), instances=True)


def read_start(name: str, folder: Path) -> Model:
    """The start with a contact output for a domain.

    Raises
    ------
    ModelError
        If it is missing, has no contact output, or was trained on the domain.
    """
    path = folder / f"{name}.safetensors"
    start = read_model(path)
    if any(source["name"] == name for source in start.card.sources):
        raise ModelError(f"'{path}' was trained on {name} itself; give a start that has not seen it.")
    if not knows_contacts(start.network):
        raise ModelError(f"'{path}' has no contact output; give a start that has one.")
    return start


def without_contacts(start: Model) -> Model:
    """The same start without its contact output: its foreground stays bit for bit the same."""
    network = copy.deepcopy(start.network)
    assert isinstance(network, ContactNetwork), "read_start checks it"
    network.contact_head = None
    return Model(replace(start.card, contact_logit=None), network)


def largest_k(n_images: int) -> int:
    """Images of the largest support set of a domain."""
    return max(K_SHOTS) if n_images > FEW_IMAGES else min(K_SHOTS)


def split(n_images: int, k_shot: int, selection: int, n_test: int) -> tuple[list[int], list[int]]:
    """Indices of the support images and of the test images.

    A selection is a seeded order of all images. Its first K are the support set. The test images come from
    beyond the largest support set, so they are the same for every K.
    """
    order = np.random.default_rng(selection).permutation(n_images).tolist()
    first = largest_k(n_images)
    return order[:k_shot], order[first : first + n_test]


def annotated(target: Target, support: Sequence[int], annotation: str) -> SupportSet:
    """The support images, annotated completely, by scribbles, or by scribbles and pairs of touching cells.

    The pairs are painted completely, each cell in its own value: `N_PAIRS` in the whole support set.

    Raises
    ------
    AnnotationError
        If scribbles find no room, or no two cells touch in the support images.
    """
    if annotation != PAIRS:
        return annotate(target, support, annotation)
    shots, n_painted = [], 0
    for i, shot in zip(support, annotate(target, support, "scribbles").shots, strict=True):
        truth = without_specks(target.shots[i].labels)
        labels = shot.labels.copy()
        pairs = touching_pairs(truth, i, N_PAIRS - n_painted)
        for cell in itertools.chain.from_iterable(pairs):
            labels[truth == cell] = labels.max() + 1
        n_painted += len(pairs)
        shots.append(make_shot(shot.plane, labels))
    if not n_painted:
        raise AnnotationError("No two cells touch in the support images.")
    return SupportSet(tuple(shots))


def touching_pairs(truth: Labels, seed: int, most: int) -> list[tuple[int, int]]:
    """Up to `most` pairs of cells that touch, without a common cell.

    A pair is a random cell and the neighbour that has the most pixels in the 8-neighbourhood of the cell.
    """
    pairs: list[tuple[int, int]] = []
    free = truth.copy()
    for cell in np.random.default_rng([seed, 7]).permutation(touching_cells(truth)).tolist():
        if len(pairs) >= most:
            break
        here = free == cell
        beside = np.bincount(free[binary_dilation(here, np.ones((3, 3))) & ~here])
        beside[:1] = 0
        if here.any() and beside.any():
            pairs.append((cell, int(beside.argmax())))
            free[np.isin(free, pairs[-1])] = 0
    return pairs


def check_same_test(rows: Sequence[dict[str, str]], name: str, n_test: int, path: Path) -> None:
    """Make sure that all rows of a domain are tested on the same number of images.

    Raises
    ------
    FewShotError
        If they are not.
    """
    other = {int(row["n_test"]) for row in rows if row["domain"] == name} - {n_test}
    if other:
        raise FewShotError(
            f"'{path}' holds results of {name} on {other.pop()} test images, not {n_test}; "
            "give --n-test as before, or another --out."
        )


# --- measuring


@dataclass(frozen=True)
class Measured:
    """One method on all test images.

    Attributes
    ----------
    scores : tuple of InstanceScore
        One for each test image.
    fit_seconds : float
        Of the fine-tuning.
    uses_contacts : bool
    """

    scores: tuple[InstanceScore, ...]
    fit_seconds: float
    uses_contacts: bool


def measure(start: Model, support: SupportSet, test: Sequence[Shot], seed: int) -> dict[str, Measured]:
    """Fine-tune without and with the contact output, one after the other, and score the test images.

    Unless most annotated cells touch, both give the same model, and one is measured for both.
    """
    beginnings = {SHAPE: without_contacts(start)}
    if shows_contacts(start, support):
        beginnings[CONTACT] = start
    models: dict[str, Model] = {}
    seconds: dict[str, float] = {}
    for method in sorted(beginnings, reverse=seed % 2 == 0):  # either is the first in half of the seeds
        begun = time.perf_counter()
        models[method] = finish(fine_tune(beginnings[method], support, seed=seed))
        seconds[method] = time.perf_counter() - begun
    scores: dict[str, list[InstanceScore]] = {method: [] for method in METHODS}
    for shot in test:
        truth = without_specks(shot.labels)
        for method, model in models.items():
            maps, diameter = predict_cells(model, shot.plane), model.card.diameter
            found = label_instances(maps.probability, contact=maps.contact, diameter=diameter)
            scores[method].append(score(found, truth))
            if method == SHAPE:
                best = cut_rightly(maps.probability > 0.5, truth, diameter)
                scores[RIGHTLY].append(score(best, truth))
    now = CONTACT if CONTACT in models else SHAPE
    return {
        SHAPE: Measured(tuple(scores[SHAPE]), seconds[SHAPE], uses_contacts=False),
        CONTACT: Measured(tuple(scores[now]), seconds[now], models[now].card.contact_logit is not None),
        RIGHTLY: Measured(tuple(scores[RIGHTLY]), seconds[SHAPE], uses_contacts=False),
    }


def shows_contacts(start: Model, support: SupportSet) -> bool:
    """Whether fine-tuning learns contacts from these images: most of their cells touch."""
    _, samples = to_samples(start, support, rescale=True, mix=fisher_mix(support))
    return prepare.shows_contacts(support, samples)


def cut_rightly(foreground: Mask, truth: Labels, diameter: float | None) -> Labels:
    """The foreground, cut into the true cells.

    A pixel outside the true cells goes to the nearest one in its connected component. A component without a
    true cell is one object. Small pieces are dropped as in `label_instances`.

    Parameters
    ----------
    foreground : ndarray, bool, (H, W)
    truth : ndarray, int32, (H, W)
    diameter : float or None
        Typical diameter of a cell in pixels.
    """
    cells = watershed(np.zeros(truth.shape, np.uint8), np.where(foreground, truth, 0), mask=foreground)
    others = label(foreground & (cells == 0), connectivity=1)
    whole = np.where(others > 0, others + truth.max(), cells).astype(np.int32)
    return drop_small(whole, usual_min_size(diameter))


def line(found: Measured, n_test: int) -> tuple[object, ...]:
    """The columns of a row from the first score to `uses_contacts`."""
    means = averaged(found.scores)
    cells = ["" if (value := means[name]) is None else f"{value:.4f}" for name in MEANS]
    counts = [sum(getattr(one, name) for one in found.scores) for name in COUNTS]
    return *cells, *counts, f"{found.fit_seconds:.2f}", n_test, int(found.uses_contacts)


if __name__ == "__main__":
    main()
