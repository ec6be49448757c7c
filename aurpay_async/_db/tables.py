"""The column type of times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, final

from sqlalchemy import DateTime
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy import Dialect


@final
class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC, to the microsecond: ``timestamptz`` on PostgreSQL.

    SQLite has no time zones, so there it is stored as text without one, and read as
    UTC. The text of an earlier time sorts first.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        """Convert a time to UTC.

        Raises:
            ValueError: it has no time zone.
        """
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError(
                f"a time must have a time zone, such as datetime.now(UTC); got {value}"
            )
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        """Return the time in UTC; psycopg returns it in the zone of the session."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return value.replace(tzinfo=UTC)
        return value.astimezone(UTC)
