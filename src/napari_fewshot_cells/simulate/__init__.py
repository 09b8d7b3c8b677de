"""Simulated micrographs with known truth, for sample data and tests without downloads.

It never draws unseeded numbers: the same arguments give the same pixels, so no truth needs to be stored.
"""

from __future__ import annotations

from .annotation import partial_annotation, scribbles
from .electron import electron_microscopy
from .fluorescence import fluorescent_cells
from .phase import phase_contrast

__all__ = ["electron_microscopy", "fluorescent_cells", "partial_annotation", "phase_contrast", "scribbles"]
