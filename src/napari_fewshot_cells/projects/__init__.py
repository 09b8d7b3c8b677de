"""A person's work on disk: projects, recovery copies and preferences.

Nothing here knows napari layers or networks.
"""
