"""Qt parts that more than one box uses.

They never import a box or a dialog.
"""
