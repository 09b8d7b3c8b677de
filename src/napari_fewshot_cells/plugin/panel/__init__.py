"""The dock widget, one file a box.

It never starts a thread and never touches a file.
"""
