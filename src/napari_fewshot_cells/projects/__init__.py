"""What is kept of a person's work on disk: projects, recovery copies, preferences.

It never knows a layer or a network.
"""
