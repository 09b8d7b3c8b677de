"""Tables, figures and the page of the paper's matrix.

It never computes a result; it reads those that are there.
"""
