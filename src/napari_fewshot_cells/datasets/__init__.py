"""The published source sets and a person's own: their download, unpacking and checks.

It never trains on them.
"""
