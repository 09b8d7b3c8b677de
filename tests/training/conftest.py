"""Two small simulated source sets on disk."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from skimage import io

from napari_fewshot_cells.simulate import electron_microscopy, fluorescent_cells
from napari_fewshot_cells.training.sources import find_sources
from napari_fewshot_cells.training.tasks import load_task


@pytest.fixture(scope="session")
def two_sources(tmp_path_factory):
    """Folder laid out as the source sets, with B39 and EM made by our own simulation."""
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
    return list(find_sources(two_sources, ("B39", "EM")).values())


@pytest.fixture(scope="session")
def tasks(sources):
    return [load_task(source) for source in sources]


@pytest.fixture
def interrupted_at_second_rows(monkeypatch):
    """Ctrl-C at the second rows that a module appends to its curves, before or after they are written."""

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
