"""The paper's matrix: schedules, the cells of target, method and network, and Dask.

It has no training or fine-tuning code of its own.
"""
