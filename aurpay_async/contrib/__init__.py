"""Callbacks (webhooks) in web frameworks, and tasks for job workers."""
