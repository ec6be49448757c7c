"""What the tests of the store share: a PostgreSQL."""

from __future__ import annotations

from ..postgresql import pooler_url, postgresql, postgresql_url

__all__ = ["pooler_url", "postgresql", "postgresql_url"]
