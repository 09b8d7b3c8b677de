"""Image planes, painted labels, the crops cut from them, and the one list of readers.

It never uses PyTorch.
"""
