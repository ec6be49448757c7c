"""The PostgreSQL fixtures of the worker tests."""

from __future__ import annotations

from ..support.postgresql import postgresql, postgresql_url

__all__ = ["postgresql", "postgresql_url"]
