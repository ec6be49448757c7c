"""A small web shop: FastAPI, SQLite, and a callback that delivers once."""
