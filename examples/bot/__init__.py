"""A Telegram bot that takes Lightning payments and records each of them once."""
