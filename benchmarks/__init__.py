"""What the SDK costs over what it stands on, as ratios measured side by side.

And what people wait for: the sandbox, its orders, and its checkout page.

``make bench`` runs all of it and prints the table; the figures of a run are kept as
JSON in ``benchmarks/results``. Nothing here is a test: machines differ, ratios less so.
"""
