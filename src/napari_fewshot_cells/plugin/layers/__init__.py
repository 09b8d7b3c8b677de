"""What napari layers mean to the plugin: planes, annotations, results, metadata keys.

It never knows the session.
"""
