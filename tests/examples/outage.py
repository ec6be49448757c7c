"""A database that is unreachable for a while, which asyncpg reports as an OSError."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine


class Outage:
    """A database that rejects connections for a while."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        #: How many connects were refused.
        self.refused = 0

    @asynccontextmanager
    async def lasting(self) -> AsyncIterator[Outage]:
        """Reject each connect inside the block, and break pooled connections."""
        sync_engine = self._engine.sync_engine
        event.listen(sync_engine, "do_connect", self._refuse)
        event.listen(sync_engine, "checkout", _disconnected)
        try:
            yield self
        finally:
            event.remove(sync_engine, "checkout", _disconnected)
            event.remove(sync_engine, "do_connect", self._refuse)

    def _refuse(self, *_: Any) -> None:
        self.refused += 1
        raise ConnectionRefusedError(111, "Connection refused")


def _disconnected(*_: Any) -> None:
    raise DisconnectionError
