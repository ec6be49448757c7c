"""The engine that runs all statements of the store."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import aiosqlite
import pytest
from sqlalchemy import Column, MetaData, Table, literal, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateTable

from aurpay_async._core.clock import SystemClock
from aurpay_async._db.engine import (
    STEP_LIMIT_S,
    Database,
    UtcDateTime,
    execute,
    execute_and_commit,
)
from aurpay_async.errors import StoreUnavailableError
from aurpay_async.testing import FakeClock

if TYPE_CHECKING:
    from pathlib import Path


LOOK = "SELECT number FROM numbers"


def is_free(path: Path) -> bool:
    """Tell if another connection can write now."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as driver:
        try:
            driver.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
    return True


def existing_file(folder: Path) -> Path:
    """Create a database without write-ahead logging, which is SQLite's default."""
    path = folder / "orders.db"
    with closing(sqlite3.connect(path)) as driver:
        driver.execute("CREATE TABLE other (number)")
    return path


def journal_mode(path: Path) -> str:
    with closing(sqlite3.connect(path)) as driver:
        mode: str = driver.execute("PRAGMA journal_mode").fetchone()[0]
    return mode


@pytest.mark.parametrize("kind", ["connect", "begin"])
async def test_cancelled_statement_releases_the_database_lock_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The lock does not wait for garbage collection."""
    path = existing_file(tmp_path)
    database = Database(f"sqlite+aiosqlite:///{path}", "a test")
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE numbers (number)"))
        await connection.execute(text("INSERT INTO numbers VALUES (1), (2)"))
    execute_there = aiosqlite.Cursor.execute

    async def cancelled(cursor: Any, statement: str, *arguments: Any) -> Any:
        if statement == LOOK:
            task.cancel()  # The driver's thread is running the statement.
        return await execute_there(cursor, statement, *arguments)

    async def read() -> None:
        async with getattr(database, kind)() as connection:
            await execute(connection, text("UPDATE numbers SET number = 7 WHERE false"))
            await execute(connection, text(LOOK))

    monkeypatch.setattr(aiosqlite.Cursor, "execute", cancelled)
    task = asyncio.create_task(read())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_free(path)
    await database.aclose()


def test_database_server_supplies_the_time_within_its_statements() -> None:
    """A test's clock replaces it."""
    server = Database("postgresql+asyncpg://shop@127.0.0.1/shop", "a test")
    clock, minute = FakeClock(), timedelta(minutes=1)
    assert "clock_timestamp()" in str(server.now(SystemClock()))
    file = Database("sqlite+aiosqlite:///orders.db", "a test")
    for database in (server, file):
        now: Any = database.now(clock, minute)
        assert now.effective_value == clock.now() + minute
    before = SystemClock().now()
    local: Any = file.now(SystemClock())
    assert before <= local.effective_value <= SystemClock().now()


async def test_time_is_stored_to_the_microsecond_and_read_in_utc(
    url: str,
) -> None:
    database = Database(url, "a test")
    times = Table("times", MetaData(), Column("at", UtcDateTime))
    tokyo = timezone(timedelta(hours=9))
    moments = [
        datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=tokyo),
        datetime(2026, 1, 1, 18, 4, 5, 678902, tzinfo=UTC),
        datetime(2026, 1, 1, 18, 4, 6, tzinfo=UTC),
        datetime(2026, 1, 1, 18, 4, 6, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 18, 4, 6, 10, tzinfo=UTC),
    ]
    async with database.begin() as connection:
        await execute(connection, CreateTable(times))
        for moment in (*moments, None):
            await execute(connection, times.insert().values(at=moment))
        later = select(times.c.at).where(times.c.at > moments[0])
        found = (await execute(connection, later.order_by(times.c.at))).scalars().all()
        assert found == moments[1:]
        second = moments[2]
        until = select(times.c.at).where(times.c.at <= second).order_by(times.c.at)
        assert (await execute(connection, until)).scalars().all() == moments[:3]
        everything = (await execute(connection, select(times.c.at))).scalars().all()
        assert [*everything] == [*moments, None]
        assert all(at is None or at.tzinfo is UTC for at in everything)
        ahead = database.now(SystemClock(), timedelta(hours=1))
        then = (await execute(connection, select(ahead))).scalar_one()
        left = then - SystemClock().now()
        assert timedelta(minutes=59) < left <= timedelta(hours=1)
    await database.aclose()


async def test_time_without_a_time_zone_is_not_stored(url: str) -> None:
    database = Database(url, "a test")
    naive = datetime(2026, 1, 2)  # noqa: DTZ001 - what is rejected
    with pytest.raises(StoreUnavailableError, match="ValueError") as caught:
        async with database.begin() as connection:
            await execute(connection, select(literal(naive, UtcDateTime())))
    assert "a time must have a time zone" in str(caught.value.__cause__)
    await database.aclose()


@pytest.mark.parametrize("kind", ["connect", "begin"])
async def test_failed_commit_leaves_neither_a_lock_nor_an_open_transaction(
    tmp_path: Path, kind: str
) -> None:
    """SQLite cannot commit while another connection is reading."""
    path = existing_file(tmp_path)
    database = Database(f"sqlite+aiosqlite:///{path}?timeout=0", "a test")
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE numbers (number)"))
        await connection.execute(text("INSERT INTO numbers VALUES (1), (2)"))
    write = execute if kind == "begin" else execute_and_commit
    with closing(sqlite3.connect(path, timeout=0)) as reader:
        unread = reader.execute(LOOK)
        with pytest.raises(StoreUnavailableError, match="locked"):
            async with getattr(database, kind)() as connection:
                await write(connection, text("INSERT INTO numbers VALUES (3)"))
        unread.close()
        assert is_free(path)
        async with database.begin() as connection:
            await execute(connection, text("INSERT INTO numbers VALUES (4)"))
        assert reader.execute(LOOK).fetchall() == [(1,), (2,), (4,)]
    await database.aclose()


async def write(database: Database, statement: str = "SELECT 1") -> None:
    async with database.connect(writes=True) as connection:
        await execute_and_commit(connection, text(statement))


async def test_new_sqlite_file_uses_write_ahead_logging(tmp_path: Path) -> None:
    """A reader with an open transaction does not delay a writer."""
    path = tmp_path / "orders.db"
    database = Database(f"sqlite+aiosqlite:///{path}?timeout=0", "a test")
    await write(database, "CREATE TABLE numbers (number)")
    async with database.connect() as reader:
        await execute(reader, text("BEGIN"))
        await execute(reader, text(LOOK))
        await write(database, "INSERT INTO numbers VALUES (1)")
    await database.aclose()
    assert journal_mode(path) == "wal"


async def test_existing_sqlite_file_keeps_its_journal_mode(tmp_path: Path) -> None:
    path = existing_file(tmp_path)
    database = Database(f"sqlite+aiosqlite:///{path}", "a test")
    await write(database, "CREATE TABLE numbers (number)")
    await database.aclose()
    assert journal_mode(path) == "delete"


async def test_engine_of_the_application_keeps_sqlites_journal_mode(
    tmp_path: Path,
) -> None:
    path = tmp_path / "orders.db"
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    await write(Database(engine, "a test"), "CREATE TABLE numbers (number)")
    await engine.dispose()
    assert journal_mode(path) == "delete"


async def test_new_sqlite_file_in_use_elsewhere_is_opened_all_the_same(
    tmp_path: Path,
) -> None:
    """Another process is creating the first table."""
    path = tmp_path / "orders.db"
    database = Database(f"sqlite+aiosqlite:///{path}?timeout=0", "a test")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with database.connect() as connection:
            assert await connection.scalar(text("SELECT 7")) == 7
        other.execute("COMMIT")
    await database.aclose()


async def test_sqlite_writers_of_an_engine_take_turns_in_order(
    tmp_path: Path,
) -> None:
    """Readers do not wait; a cancelled writer gives up its place."""
    first = Database(f"sqlite+aiosqlite:///{tmp_path}/orders.db", "a test")
    databases = [first, Database(first.engine, "another test")]
    seen: list[int] = []

    async def write_number(number: int) -> None:
        async with databases[number % 2].begin():
            seen.append(number)

    async with databases[0].begin():
        writers = [asyncio.create_task(write_number(number)) for number in range(40)]
        async with databases[1].connect() as reader:
            assert await reader.scalar(text("SELECT 7")) == 7
        writers[3].cancel()
        assert seen == []
    await asyncio.gather(*writers, return_exceptions=True)
    assert seen == [number for number in range(40) if number != 3]
    await first.aclose()


async def test_sqlite_writer_that_waits_too_long_for_its_turn_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that waits for a transaction of its own would wait for ever."""
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/orders.db", "a test")
    async with database.begin():
        with monkeypatch.context() as patch:
            patch.setitem(STEP_LIMIT_S, "sqlite", 0)
            with pytest.raises(StoreUnavailableError, match="did not answer in 0 s"):
                await write(database)
    await write(database)
    await database.aclose()


async def test_sqlite_writers_of_two_engines_do_not_wait_for_a_turn(
    tmp_path: Path,
) -> None:
    """Each has an event loop; SQLite's own lock orders what they write."""
    url = f"sqlite+aiosqlite:///{tmp_path}/orders.db"
    databases = [Database(url, "a test") for _ in range(2)]

    async def write_and_close() -> None:
        await write(databases[1])
        await databases[1].aclose()

    async with databases[0].begin():
        await asyncio.to_thread(asyncio.run, write_and_close())
    await databases[0].aclose()


async def test_transaction_of_the_driver_is_rolled_back_in_the_pool(
    tmp_path: Path,
) -> None:
    """SQLAlchemy does not know of it."""
    path = existing_file(tmp_path)
    database = Database(f"sqlite+aiosqlite:///{path}", "a test")
    async with database.connect() as connection:
        pooled = await connection.get_raw_connection()
        driver: Any = pooled.driver_connection
        await driver.execute("INSERT INTO other VALUES (1)")
        assert not is_free(path)
    assert is_free(path)
    async with database.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM other")) == 0
    await database.aclose()
