"""From a model and an image to a probability, objects, measurements and scores.

Nothing here changes a model.
"""
