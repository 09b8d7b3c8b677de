"""The paper's experiment: its schedules, its matrix of targets, methods and networks, and its Dask jobs.

It never trains or fine-tunes by code of its own.
"""
