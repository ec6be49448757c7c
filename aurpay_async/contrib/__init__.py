"""Callbacks in web frameworks: a thin adapter for each, imported by itself.

.. versionadded:: 0.1.0
"""
