"""Times in columns: their time zone on each database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

pytest.importorskip("sqlalchemy")

from sqlalchemy.engine import make_url

from aurpay_async._db.engine import UtcDateTime

POSTGRESQL = make_url("postgresql+asyncpg://").get_dialect()()
SQLITE = make_url("sqlite+aiosqlite://").get_dialect()()

NOW = datetime(2026, 7, 1, 12, 30, 15, 123456, tzinfo=UTC)


def test_time_from_postgresql_in_the_zone_of_the_session_is_returned_in_utc() -> None:
    stored = NOW.astimezone(timezone(timedelta(hours=-7)))
    read = UtcDateTime().process_result_value(stored, POSTGRESQL)
    assert read == NOW
    assert read is not None
    assert read.tzinfo is UTC


def test_time_is_written_without_zone_to_sqlite_and_read_back_as_utc() -> None:
    local = NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))
    column, dialect = UtcDateTime(), SQLITE
    written = column.process_bind_param(local, dialect)
    assert written == NOW.replace(tzinfo=None)
    assert column.process_result_value(written, dialect) == NOW


def test_time_without_a_zone_is_rejected_on_both_databases() -> None:
    naive = NOW.replace(tzinfo=None)
    for dialect in (POSTGRESQL, SQLITE):
        with pytest.raises(ValueError, match="must have a time zone"):
            UtcDateTime().process_bind_param(naive, dialect)
