"""Fine-tuning, as the panel's button starts it: it makes a model of the target from 1–10 annotated images.

It never reads or writes a file, and never meta-trains.
"""
