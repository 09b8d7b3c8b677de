"""Tables, figures and the page of the paper's matrix.

It computes no results; it reads existing ones.
"""
