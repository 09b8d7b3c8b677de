"""What a napari layer means here: planes, annotations, results, metadata keys.

It never knows the session.
"""
