"""Qt widgets that several boxes or dialogs use.

They never import a box or a dialog.
"""
