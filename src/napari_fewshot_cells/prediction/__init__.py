"""A model and an image become a probability, objects, measurements and scores.

Nothing here changes a model.
"""
