"""Errors of the user's: each message is one line that says what is wrong and what to do."""

from __future__ import annotations


class FewShotError(ValueError):
    """Something the user gave cannot be used; the one-line message says what is wrong and what to do."""


class ImageError(FewShotError):
    """An image that cannot be read or used: NaN, constant, too small, not a plane."""


class AnnotationError(FewShotError):
    """An annotation that cannot be learnt from: empty, only cells, only background, or of another shape."""


class ModelError(FewShotError):
    """A model file that is missing, damaged, no model of ours, or may not be written."""


class DataError(FewShotError):
    """A data folder that is missing, incomplete or damaged, or that cannot be downloaded or written."""


class ProjectError(FewShotError):
    """A project folder that is missing, damaged, no project, from a newer version, or may not be written."""
