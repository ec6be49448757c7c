"""Job workers on procrastinate: carts in, parcels out, whoever is killed meanwhile."""
