"""The dock widget, with one file per box.

It never starts a thread, and never touches a file.
"""
