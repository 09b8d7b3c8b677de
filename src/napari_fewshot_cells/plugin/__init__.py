"""The napari plugin: everything that appears on the screen.

It never imports meta-training, the paper's experiment or the source sets.
"""
