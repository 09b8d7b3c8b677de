"""What the panel knows and does.

It never holds a widget.
"""
