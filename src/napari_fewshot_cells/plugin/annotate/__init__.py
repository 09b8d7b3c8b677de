"""Annotation tools: napari's brushes and the tools for corrections.

They never train or predict.
"""
