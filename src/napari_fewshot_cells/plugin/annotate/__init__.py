"""The tools beside napari's own brushes.

They never train or predict.
"""
