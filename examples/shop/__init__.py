"""A small web shop with FastAPI, SQLite and an idempotent callback handler."""
