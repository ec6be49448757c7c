"""Migrate the schema from a deploy step that has no client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._store._engine import Database
from .._store._upgrade import upgrade as upgrade_database

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


async def upgrade(engine_or_url: AsyncEngine | str) -> None:
    """Bring a database to the newest schema, as `OrderStore.upgrade` does.

    For a migration job: it needs no client, and so no payment secret.

    Example:
        >>> asyncio.run(upgrade("postgresql+asyncpg://migrator@host/shop"))

    Args:
        engine_or_url: As for `OrderStore`; an engine is left open.

    Raises:
        ConfigurationError: that is no database that can do this; Alembic is not
            installed; or a newer version of this package has migrated it.
        StoreUnavailableError: the database failed, or did not answer in time.
    """
    try:
        database = Database(engine_or_url, upgrade.__name__)
    finally:
        del engine_or_url  # tracebacks show local names, and it may hold a password
    try:
        await upgrade_database(database)
    finally:
        await database.aclose()
