"""Shared fixtures: a home and signal handlers for each test, simulated source sets, the real data."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new home for each test, so that none touches the models, sessions and data of whoever runs it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("NAPARI_FEWSHOT_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Ctrl-C interrupts this process and its children; handlers that a command installs end with the test.

    A shell starts background jobs (``make test &``) with SIGINT ignored, and child processes inherit this.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if before[signal.SIGINT] == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def source_data() -> Path:
    """Folder of the real source sets; skips the test, with the reason, if there is none."""
    given = os.environ.get("NAPARI_FEWSHOT_DATA")
    folder = Path(given) if given else Path(__file__).parents[1].parent / "shared" / "data"
    if not (folder / "B39" / "images").is_dir():
        pytest.skip(f"real source sets missing: none in {folder} (set NAPARI_FEWSHOT_DATA)")
    return folder


@pytest.fixture(scope="session")
def five_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder laid out as the five source sets, with 12 small simulated images in each."""
    from skimage import io

    from napari_fewshot_cells.datasets.five_sets import PUBLISHED_SETS
    from napari_fewshot_cells.simulate import electron_microscopy, fluorescent_cells

    data = tmp_path_factory.mktemp("five")
    for name, facts in PUBLISHED_SETS.items():
        simulate = electron_microscopy if name.endswith("EM") else fluorescent_cells
        for part in ("images", "masks"):
            (data / name / part).mkdir(parents=True)
        for seed in range(12):
            image, labels = simulate((96, 96), seed=seed)
            mask = labels.astype("uint16") if facts.instances else ((labels > 0) * 255).astype("uint8")
            io.imsave(data / name / "images" / f"{seed}.png", image, check_contrast=False)
            io.imsave(data / name / "masks" / f"{seed}.png", mask, check_contrast=False)
    return data


@pytest.fixture(scope="session")
def two_sources(tmp_path_factory):
    """Folder laid out as the source sets, with three simulated images in B39 and three in EM."""
    from skimage import io

    from napari_fewshot_cells.simulate import electron_microscopy, fluorescent_cells

    data = tmp_path_factory.mktemp("data")
    for name, simulate in {"B39": fluorescent_cells, "EM": electron_microscopy}.items():
        for kind in ("images", "masks"):
            (data / name / kind).mkdir(parents=True)
        for seed in range(3):
            image, labels = simulate((128, 128), seed=seed)
            io.imsave(data / name / "images" / f"{seed}.png", image, check_contrast=False)
            mask = labels.astype("uint16") if name == "B39" else ((labels > 0) * 255).astype("uint8")
            io.imsave(data / name / "masks" / f"{seed}.png", mask, check_contrast=False)
    return data


@pytest.fixture(scope="session")
def sources(two_sources):
    from napari_fewshot_cells.datasets.five_sets import find_sources

    return list(find_sources(two_sources, ("B39", "EM")).values())


@pytest.fixture(scope="session")
def tasks(sources):
    from napari_fewshot_cells.training.episodes import load_task

    return [load_task(source) for source in sources]


@pytest.fixture(scope="session")
def own_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of simulated own sources: cells touch in `nuclei` and `phase`, but not in `mitochondria`."""
    from skimage import io

    from napari_fewshot_cells.simulate import electron_microscopy, fluorescent_cells, phase_contrast

    lab = tmp_path_factory.mktemp("own")
    simulators = {"nuclei": fluorescent_cells, "phase": phase_contrast, "mitochondria": electron_microscopy}
    for name, simulate in simulators.items():
        for part in ("images", "masks"):
            (lab / name / part).mkdir(parents=True)
        for seed in range(3):
            image, labels = simulate((96, 96), seed=seed)
            io.imsave(lab / name / "images" / f"{seed}.png", image, check_contrast=False)
            io.imsave(lab / name / "masks" / f"{seed}.png", labels.astype("uint16"), check_contrast=False)
    return lab


@pytest.fixture
def interrupted_at_second_rows(monkeypatch):
    """Ctrl-C when a module appends rows to its curves the second time, before or after they are written."""

    @contextmanager
    def interrupted_at_second_rows(module, written):
        append, calls = module.append_rows, []

        def interrupted(*arguments):
            calls.append(arguments)
            if len(calls) < 2 or written:
                append(*arguments)
            if len(calls) == 2:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(module, "append_rows", interrupted)
            yield

    return interrupted_at_second_rows


@pytest.fixture(scope="session")
def touching_cells():
    """Two cells without a waist between them, only a bright line: the image, uint8, and a model that sees it.

    The model finds both cells and their contact: its heads are fitted to a random network's features.
    """
    import numpy as np
    import torch

    from napari_fewshot_cells.data.plane import normalise, to_plane
    from napari_fewshot_cells.models.model import Model, ModelCard
    from napari_fewshot_cells.models.networks import build_network, learn_contacts

    image = np.full((96, 144), 20, np.uint8)
    image[28:68, 27:117] = 150
    image[28:68, 70:74] = 255
    network = build_network("unet", seed=3).eval()
    learn_contacts(network)
    with torch.inference_mode():
        features, _ = network.features(torch.from_numpy(normalise(to_plane(image, "two")))[None, None])
    columns = features[0].flatten(1).T.double().numpy()
    columns = np.column_stack([columns, np.ones(len(columns))])
    solve = np.linalg.pinv(columns, rcond=1e-8)
    for head, is_there in ((network.head, image > 20), (network.contact_head, image == 255)):
        least = 4.0 * (2 * is_there.ravel() - 1)  # logits; larger ones are welcome, too
        wanted = least
        for _ in range(200):
            *weights, bias = solve @ wanted
            found = columns @ [*weights, bias]
            wanted = np.where(is_there.ravel(), np.maximum(found, least), np.minimum(found, least))
        with torch.no_grad():
            head.weight.copy_(torch.tensor(weights)[None, :, None, None])
            head.bias.fill_(bias)
    card = ModelCard("two", "unet", diameter=28.0, contact_logit=0.0, k_shot=1)
    return image, Model(card, network)
