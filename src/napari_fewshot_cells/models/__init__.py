"""Networks, losses, models with their cards, the library of models, and their export.

It never reads an image, and never trains.
"""
