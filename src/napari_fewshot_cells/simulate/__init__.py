"""Simulated micrographs with known truth: sample data and tests without any download.

The generators are seeded: the same arguments give the same pixels, so a truth never needs to be stored.
"""

from __future__ import annotations

from .annotation import partial_annotation
from .electron import electron_microscopy
from .fluorescence import fluorescent_cells

__all__ = ["electron_microscopy", "fluorescent_cells", "partial_annotation"]
