"""Example programs; tests/examples runs each of them."""
