"""The costs in docs/scaling.md are those of the stored measurements."""

from __future__ import annotations

from napari_fewshot_cells.experiment.schedules import CPU_FINE_TUNING
from scaling_report import DOCS, quick, read, seconds, write_tables


def test_the_published_tables_are_those_of_the_measurements():
    text = (DOCS / "scaling.md").read_text(encoding="utf-8")
    assert write_tables(text) == text


def test_a_fine_tuning_of_cpu_counts_its_own_steps():
    rows = read("scaling.csv")
    few, more = (seconds(rows, "fine-tuning", "fcrn", k_shot=5, inner_steps=steps) for steps in (5, 15))
    expected = few + (more - few) / 10 * (CPU_FINE_TUNING.steps - 5)
    assert abs(quick(rows, "fcrn", 5) - expected) < 1e-9
