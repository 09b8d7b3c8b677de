"""Qt parts that more than one box uses.

They never know the session.
"""
