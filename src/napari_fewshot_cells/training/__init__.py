"""Meta-training and transfer learning, resumable, on one or more ranks.

It never compares methods; `experiment` does.
"""
