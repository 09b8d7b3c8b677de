"""``napari-fewshot-train``, one file a sub-command.

It never holds any science and never opens a window.
"""
