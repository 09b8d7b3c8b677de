"""The parts that every room uses: errors, progress, whole-file writing, memory, threads and devices.

It never knows what an image, a network or a project is.
"""
