"""Qt widgets that several boxes or dialogs use.

They never know the session.
"""
