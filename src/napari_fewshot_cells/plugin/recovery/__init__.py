"""Autosave and opening a project, on the side of the viewer.

`projects` decides how the files look.
"""
