"""Fine-tuning: a model and 1–10 annotated images become a model of the target.

Nothing here reads or writes files, or meta-trains.
"""
