"""Image planes, painted labels, the crops cut from them, and the one list of readers.

Crops are handed over as tensors; nothing here computes with PyTorch.
"""
