"""Work in threads: the worker, its events, and one file per job.

A job never touches a layer or a widget.
"""
