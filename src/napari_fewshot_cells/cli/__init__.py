"""The command ``napari-fewshot``: it turns flags into calls, and results into text and exit codes.

It never computes anything itself, and never opens a window.
"""
