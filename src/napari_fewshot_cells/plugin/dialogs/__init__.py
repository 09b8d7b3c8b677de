"""The windows that the panel opens: batch prediction and the model library.

They never change the session's layers.
"""
