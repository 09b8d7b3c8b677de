"""The state of the panel and its actions.

It never holds a widget.
"""
