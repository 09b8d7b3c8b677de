"""What napari layers mean to the plugin: planes, annotations, results and metadata keys.

It never knows the session.
"""
