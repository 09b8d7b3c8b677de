"""The paper's matrix: schedules, its cells of target, method and network, and Dask.

It never trains or fine-tunes by code of its own.
"""
