"""A model and an image become a probability, objects, measurements and scores.

It never changes a model.
"""
