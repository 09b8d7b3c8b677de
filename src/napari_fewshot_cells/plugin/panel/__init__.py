"""The dock widget; each box has its own file.

It never trains or predicts itself; `session` and `jobs` do.
"""
