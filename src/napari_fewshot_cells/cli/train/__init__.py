"""The command ``napari-fewshot-train``, with one file per sub-command.

It never computes anything itself, and never opens a window.
"""
