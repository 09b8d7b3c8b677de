"""The napari plugin: everything with a screen.

It never imports meta-training, the paper's experiment or the source sets.
"""
