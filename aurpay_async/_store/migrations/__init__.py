"""How the schema came to be what it is: one file for each version, never changed."""
