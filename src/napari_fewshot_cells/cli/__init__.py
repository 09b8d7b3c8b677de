"""``napari-fewshot``: flags in, exit codes out.

It never holds any science and never opens a window.
"""
