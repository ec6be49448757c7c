"""Benchmarks: the cost of the SDK over its dependencies, as ratios.

``make bench`` runs all parts, ``python -m benchmarks orders`` one of them. The table is
printed, and written as JSON to ``benchmarks/results``. These are no tests: results
depend on the machine.
"""
