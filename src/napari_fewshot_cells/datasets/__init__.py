"""The source sets: download, unpack, check, and a person's own.

It never trains on them.
"""
