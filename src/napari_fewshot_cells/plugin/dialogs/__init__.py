"""The windows that open from the panel: batch prediction and the model library.

They never change the session's layers.
"""
