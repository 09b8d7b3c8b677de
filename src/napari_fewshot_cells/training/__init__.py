"""Meta-training and transfer learning, resumable, on one or more ranks; and the training of contacts.

It never compares methods; `experiment` does.
"""
