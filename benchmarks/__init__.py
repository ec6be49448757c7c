"""Benchmarks: the cost of the SDK over its dependencies, as ratios.

Absolute times are measured for the sandbox, its orders, and its checkout page.

``make bench`` runs all benchmarks, prints the table, and writes the results as JSON to
``benchmarks/results``. These are no tests: results depend on the machine.
"""
