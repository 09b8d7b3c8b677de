"""What can be wrong with what a person gave us: every message is one line that says what to do."""

from __future__ import annotations


class FewShotError(ValueError):
    """Something the user gave cannot be used; the message, one line, says what is wrong and what to do."""


class ImageError(FewShotError):
    """An image that cannot be read or used: NaN, constant, too small, not a plane."""


class AnnotationError(FewShotError):
    """An annotation that cannot be learnt from: empty, only cells, only background, another shape."""


class ModelError(FewShotError):
    """A model file that is missing, corrupt, foreign or protected."""


class DataError(FewShotError):
    """A data folder that is missing, incomplete, damaged or cannot be fetched."""


class ProjectError(FewShotError):
    """A project folder that is missing, foreign, damaged, from a newer version, or may not be written to."""
