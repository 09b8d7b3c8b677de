"""The report on the paper's experiment: tables, figures and the page.

It never computes new results; it reads stored ones.
"""
