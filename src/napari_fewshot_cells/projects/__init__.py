"""A person's work on disk: projects, recovery copies and preferences.

It never knows a napari layer or a network.
"""
