"""Work in threads: the worker, its events, one file a job.

A job never touches a layer or a widget.
"""
