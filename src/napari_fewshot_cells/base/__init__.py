"""What every room uses: errors, progress, atomic file writing, devices, and the settings of the process.

Nothing here knows what an image, a network or a project is.
"""
