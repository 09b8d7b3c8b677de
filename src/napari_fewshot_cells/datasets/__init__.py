"""The source sets: download, unpack and check the published ones, and check a lab's own.

Nothing here trains on them.
"""
