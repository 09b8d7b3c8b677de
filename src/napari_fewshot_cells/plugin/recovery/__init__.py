"""Autosave and opening a project, seen from the viewer.

It never decides how files look; that is `projects`'.
"""
