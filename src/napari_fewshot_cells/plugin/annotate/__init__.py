"""Annotation tools in addition to napari's own brushes.

They never train or predict.
"""
