"""Networks, losses, the model with its card, the library of models, and their export.

It never reads an image and never trains.
"""
