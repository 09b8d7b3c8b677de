"""The button: a model and 1–10 annotated images become a model of the target.

It never touches a file, and never meta-trains.
"""
