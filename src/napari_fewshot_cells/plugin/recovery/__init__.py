"""Autosave and opening of projects, on the viewer's side.

It never decides on file formats; `projects` does.
"""
