"""Migrate a database from any earlier version to the newest schema."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Text, event, inspect, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

import aurpay_async._db
from aurpay_async import orders
from aurpay_async._db import migrations, tables
from aurpay_async._db.engine import Database
from aurpay_async._db.migrations import TABLE, fits, upgrade
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.errors import ConfigurationError, StoreUnavailableError
from aurpay_async.orders._models import ACTIVE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from alembic.operations import Operations
    from sqlalchemy import Connection

TABLES = {"aurpay_callbacks", "aurpay_references", "aurpay_attempts"}


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """An open database of each kind in turn."""
    database = Database(url, "a test")
    yield database
    await database.aclose()


async def run(database: Database, statement: str) -> Any:
    async with database.begin() as connection:
        result = await connection.execute(text(statement))
        return result.scalars().all() if result.returns_rows else None


def differences(connection: Connection) -> Any:
    options = {"version_table": TABLE, "compare_type": True}
    context = MigrationContext.configure(connection, opts=options)
    return compare_metadata(context, tables.metadata)


#: The statements that create the indexes of the tables, by dialect.
INDEXES = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
    "postgresql": "SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'aurpay_%'",
}


async def indexes(database: Database) -> list[str]:
    """Return the statements that create the indexes of the database."""
    return sorted(await run(database, INDEXES[database.dialect]))


async def test_migrations_produce_the_declared_schema(database: Database) -> None:
    assert not await fits(database)
    await upgrade(database)
    assert await fits(database)
    async with database.begin() as connection:
        assert await connection.run_sync(differences) == []
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert set(names) == {*TABLES, "aurpay_version"}
    assert await run(database, "SELECT version_num FROM aurpay_version") == ["0001"]


async def test_migrations_and_declared_tables_have_the_same_indexes(
    database: Database,
) -> None:
    """Alembic's comparison ignores the WHERE of a partial index."""
    await upgrade(database)
    migrated = await indexes(database)
    async with database.begin() as connection:
        await connection.run_sync(tables.metadata.drop_all)
        await connection.run_sync(tables.metadata.create_all)
    assert migrated == await indexes(database)
    partial = [index for index in migrated if "WHERE" in index]
    assert len(partial) == 4
    [one_active] = [index for index in partial if "UNIQUE" in index]
    assert one_active.startswith("CREATE UNIQUE INDEX aurpay_attempts_one_active ON")
    named = set(re.findall(r"'(\w+)'", one_active))
    assert named == {str(state) for state in ACTIVE}


async def test_concurrent_and_repeated_upgrades_succeed(url: str) -> None:
    databases = [Database(url, "a test") for _ in range(8)]
    for _ in range(2):
        await asyncio.gather(*(upgrade(database) for database in databases))
    assert await fits(databases[0])
    for database in databases:
        await database.aclose()


async def test_failed_migration_is_rolled_back(url: str) -> None:
    database = Database(url, "a test")
    begun: list[str] = []

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def fail(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "aurpay_attempts_one_active" in statement:
            begun.append(statement)
            message = "the power went out"
            raise OSError(message)

    with pytest.raises(StoreUnavailableError) as caught:
        await upgrade(database)
    assert str(caught.value.__cause__) == "the power went out"
    assert len(begun) == 1
    await database.aclose()
    database = Database(url, "a test")
    async with database.begin() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert not TABLES.intersection(names)
    await upgrade(database)
    assert await fits(database)
    await database.aclose()


async def test_upgrade_keeps_the_rows_of_an_existing_inbox_table(url: str) -> None:
    async with SqlInbox(url) as store:
        await store.create_tables()
        claim = await store.claim("ab" * 12, "paid")
        database = Database(url, "a test")
        await upgrade(database)
        await database.aclose()
        assert await store.holds(claim)  # type: ignore[arg-type]


async def test_upgrade_needs_no_client_and_no_payment_secret(url: str) -> None:
    await orders.upgrade(url)
    engine = create_async_engine(url)
    await orders.upgrade(engine)
    assert await fits(Database(engine, "a test"))
    await engine.dispose()


async def test_schema_of_the_applications_own_migrations_fits(
    database: Database,
) -> None:
    async with database.begin() as connection:
        await connection.run_sync(tables.metadata.create_all)
    assert await fits(database)
    await upgrade(database)
    assert await run(database, "SELECT version_num FROM aurpay_version") == ["0001"]


async def test_schema_without_a_column_does_not_fit(database: Database) -> None:
    await upgrade(database)
    await run(database, "ALTER TABLE aurpay_attempts DROP COLUMN candidates")
    assert not await fits(database)


async def test_unreachable_database_is_an_error_and_not_an_old_version(
    database: Database,
) -> None:
    await upgrade(database)

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def fail(*_: Any) -> None:
        message = "the server has gone away"
        raise OperationalError(message, None, Exception())

    with pytest.raises(StoreUnavailableError):
        await fits(database)


async def test_database_of_a_newer_version_is_left_unchanged(
    database: Database,
) -> None:
    await upgrade(database)
    await run(database, "UPDATE aurpay_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="a newer version of aurpay-async"):
        await upgrade(database)


async def test_upgrade_takes_an_engine_that_begins_transactions_itself(
    tmp_path: Path,
) -> None:
    """With SQLAlchemy's recipe for SQLite, DDL is in the transaction too."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/recipe.db")

    @event.listens_for(engine.sync_engine, "connect")
    def connected(driver: Any, _: object) -> None:
        driver.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    database = Database(engine, "a test")
    await asyncio.gather(*(upgrade(database) for _ in range(4)))
    assert await fits(database)
    await engine.dispose()


async def test_upgrade_without_alembic_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "alembic.migration", None)
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/orders.db", "a test")
    with pytest.raises(ConfigurationError, match=r"pip install 'aurpay-async\[sql\]'"):
        await upgrade(database)
    await database.aclose()


def test_import_without_sqlalchemy_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delitem(sys.modules, aurpay_async._db.__name__)
    with pytest.raises(ImportError, match=r"pip install 'aurpay-async\[sql\]'"):
        importlib.import_module(aurpay_async._db.__name__)


async def test_upgrade_runs_only_the_missing_migrations(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upgrade(database)
    later = ModuleType("v0002_later")
    made: list[str] = []

    def make(op: Operations) -> None:
        op.add_column("aurpay_references", Column("later", Text))
        made.append("0002")

    later.__file__ = "v0002_later.py"
    vars(later).update(revision="0002", down_revision="0001", upgrade=make)
    monkeypatch.setattr(migrations, "VERSIONS", (*migrations.VERSIONS, later))
    for _ in range(2):
        await upgrade(database)
    assert made == await run(database, "SELECT version_num FROM aurpay_version")
    assert await run(database, "SELECT later FROM aurpay_references") == []
