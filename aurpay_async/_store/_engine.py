"""One engine for what is kept: made for a URL, or the shop's own.

SQLite lets one connection write at a time, and refuses whoever reads first and wants
to write when somebody else has written meanwhile. So a transaction here begins with a
write; on PostgreSQL it locks the rows that it needs.
"""

from __future__ import annotations

from asyncio import CancelledError
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, Final, final

from sqlalchemy import make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.pool import StaticPool

from ..errors import ConfigurationError, shown

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from sqlalchemy import CursorResult, Executable, Table

#: How each database says: insert, unless it is there already.
_INSERTS: Final[Mapping[str, Callable[[Table], postgresql.Insert | sqlite.Insert]]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}

#: For steps that commit by themselves, and for transactions. On PostgreSQL, the first
#: need two round trips less, and neither depends on what the engine does else. SQLite's
#: engines may have listeners that begin transactions by themselves.
_OPTIONS: Final[Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]]] = {
    "postgresql": (
        {"isolation_level": "AUTOCOMMIT"},
        {"isolation_level": "READ COMMITTED"},
    ),
    "sqlite": ({}, {}),
}

#: How long SQLite waits for another writer. Python's 5 s are short for a busy disk, and
#: whoever calls us has often given up after 30 s.
_SQLITE_WAIT_S: Final = "15"

#: What to write instead.
_URLS: Final = (
    "write sqlite+aiosqlite:///orders.db after pip install 'aurpay-async[sql]', "
    "or postgresql+asyncpg://user:password@host/name after pip install "
    "'aurpay-async[postgresql]'"
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@final
class Database:
    """A database, and whether its connections are ours to close."""

    def __init__(self, engine_or_url: AsyncEngine | str, who: str) -> None:
        """Prepare; nothing is opened yet.

        Args:
            engine_or_url: What users give.
            who: The class that they give it to.

        Raises:
            ConfigurationError: if that is no database that can do this.
        """
        self._owned = isinstance(engine_or_url, str)
        self._who = who
        self._closed = False
        self.engine: Final = _engine(engine_or_url, who)
        self.is_sqlite: Final = self.engine.dialect.name == "sqlite"
        self.insert: Final = _INSERTS[self.engine.dialect.name]
        stepwise, together = _OPTIONS[self.engine.dialect.name]
        self._stepwise = self.engine.execution_options(**stepwise)
        self._together = self.engine.execution_options(**together)

    def connect(self) -> AsyncConnection:
        """For ``async with``: every statement on it is committed by `run`."""
        return self._open(self._stepwise).connect()

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[AsyncConnection, None]:
        """A transaction: all of it, or nothing."""
        async with self._open(self._together).begin() as connection:
            yield await connection_of(connection)

    def _open(self, engine: AsyncEngine) -> AsyncEngine:
        if self._closed:
            raise ConfigurationError(f"this {self._who} was closed")
        return engine

    async def aclose(self) -> None:
        """End it, and its connections if they are its own."""
        self._closed = True
        if self._owned:
            await self.engine.dispose()


async def run(connection: AsyncConnection, statement: Executable) -> CursorResult[Any]:
    """One step: a statement, committed."""
    result = await execute(connection, statement)
    await connection.commit()
    return result


async def execute(
    connection: AsyncConnection, statement: Executable
) -> CursorResult[Any]:
    """A statement whose `rowcount` can be read."""
    # Of an INSERT, SQLAlchemy forgets the count unless it is told not to.
    options = {"preserve_rowcount": True}
    try:
        return await connection.execute(statement, execution_options=options)
    except CancelledError as error:
        # The connection is closed by now, but what it was reading has a lock for as
        # long as the cursor lives: until these frames are collected as garbage.
        clear_frames(error.__traceback__)
        raise


async def connection_of(caller: object) -> AsyncConnection:
    """The connection in whose transaction a caller works.

    Raises:
        ConfigurationError: if it is none, or one that could not undo anything.
    """
    connection = (
        await caller.connection() if isinstance(caller, AsyncSession) else caller
    )
    if isinstance(connection, AsyncConnection) and connection.sync_connection:
        options = connection.sync_connection.get_execution_options()
        # Of the connection or its engine; or what each connection begins with.
        beginning = getattr(connection.dialect, "_on_connect_isolation_level", None)
        if options.get("isolation_level", beginning) != "AUTOCOMMIT":
            return connection
    raise ConfigurationError(
        "connection must be the AsyncConnection or AsyncSession of SQLAlchemy in whose "
        f"transaction the caller works, not {shown(caller)}; nothing can be undone "
        "where each statement commits by itself"
    )


def to_ms(moment: datetime) -> int:
    """A time as it is kept."""
    return (moment - _EPOCH) // _MILLISECOND


def from_ms(kept: int) -> datetime:
    """A time that was kept: aware, UTC."""
    return _EPOCH + kept * _MILLISECOND


def _engine(given: object, who: str) -> AsyncEngine:
    """The engine that was given, or one for the URL; refused if it cannot do this."""
    engine = _engine_at(given) if isinstance(given, str) else given
    if not isinstance(engine, AsyncEngine):
        raise ConfigurationError(
            f"{who} takes an AsyncEngine of SQLAlchemy or a URL, not {shown(engine)}"
        )
    if engine.dialect.name not in _INSERTS:
        raise ConfigurationError(
            f"{who} knows SQLite and PostgreSQL, not {engine.dialect.name}"
        )
    if isinstance(engine.pool, StaticPool):
        # One connection has one transaction: one step would commit another's half.
        raise ConfigurationError(
            "a database in memory has one connection for all, so nobody has a "
            "transaction of its own; use a file"
        )
    return engine


def _engine_at(text: str) -> AsyncEngine:
    # The causes are not chained: some of them show the URL, and with it the password.
    try:
        url = make_url(text)
        if url.get_backend_name() == "sqlite":
            url = url.update_query_dict({"timeout": _SQLITE_WAIT_S, **url.query})
        return create_async_engine(url, hide_parameters=True, pool_pre_ping=True)
    except ImportError as error:
        raise ConfigurationError(
            f"the database driver {error.name} is not installed; {_URLS}"
        ) from None
    except (SQLAlchemyError, ValueError):
        raise ConfigurationError(
            f"this is not the URL of a database driver for asyncio; {_URLS}"
        ) from None
