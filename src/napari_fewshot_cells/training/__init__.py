"""Meta-training and transfer learning, resumable, on one or more ranks.

It never compares methods; that is the experiment's.
"""
