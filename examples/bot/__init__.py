"""A Telegram bot that takes Lightning payments, and knows in the end what was paid."""
