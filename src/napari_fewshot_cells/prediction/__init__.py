"""From a model and an image to a probability, objects, measurements and scores.

It never changes a model.
"""
