"""The ground floor: errors, progress, whole-file writing, memory, threads, devices.

It never knows what an image, a network or a person's work is.
"""
