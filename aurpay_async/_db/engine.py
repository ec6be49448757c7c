"""One engine for what is kept: made for a URL, or the shop's own.

SQLite lets one connection write at a time, and rejects a transaction that reads
first and writes after another one has written meanwhile. So a transaction here begins
with a write; on PostgreSQL it locks the rows that it needs.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast, final

import sqlalchemy as sa
from sqlalchemy import func, literal, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.pool import StaticPool

from .._clock import SystemClock
from ..errors import ConfigurationError, StoreUnavailableError, shown
from ._pools import bind_pool, drop_pool, is_bound_here, record_process
from ._steps import commit, step
from ._times import UtcDateTime

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from datetime import datetime

    from sqlalchemy import URL, ColumnElement, Connection, Table
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from .._clock import Clock

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

#: Seconds that SQLite waits for another writer. Python's 5 s are short for a busy disk,
#: and HTTP clients have often given up after 30 s.
SQLITE_BUSY_S: Final = "15"

#: Seconds for which a connection that was in use counts as alive, so that calls in a
#: row cost no ping. HikariCP, the pool of many Java shops, takes the same.
ALIVE_S: Final = 0.5

#: Seconds that the other end of an idle connection has to answer a ping. Then a new one
#: is opened, so a connection that broke silently delays a call, and fails none.
PING_LIMIT_S: Final = 2.0

#: Where the pool's record of a connection has the time of its last use.
_USED_AT: Final = "aurpay_async_used_at"

#: For a pooler in transaction mode: no statement is prepared under a name, as the next
#: transaction may get another server connection, which does not know it. asyncpg parses
#: and executes an unnamed one without a point between at which the pooler could change
#: the connection; SQLAlchemy must not keep it, because the next one replaces it.
_POOLER_OPTIONS: Final[Mapping[str, Mapping[str, object]]] = {
    "asyncpg": {
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": str,
    },
    "psycopg": {"prepare_threshold": None},
}

#: The parameter of a URL that asks for them; hosts and ORMs of other languages use it.
_POOLER: Final = "pgbouncer"

#: What to write instead.
_URLS: Final = (
    "write sqlite+aiosqlite:///orders.db after pip install 'aurpay-async[sql]', "
    "or postgresql+asyncpg://user:password@host/name after pip install "
    "'aurpay-async[postgresql]'"
)


@final
class Database:
    """A database, for the event loop that uses it, in the process that uses it.

    Its engine is one object for its whole life. The connections of that engine belong
    to the process and the loop that opened them: a forked child, and a new loop after
    the old one was closed, get connections of their own.

    Every failure of a connect, a commit, and a statement that goes through `execute` or
    `execute_and_commit` is raised as a `StoreUnavailableError` with the driver's error
    as its cause.
    """

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
        try:
            engine = (
                _engine_at(engine_or_url)
                if isinstance(engine_or_url, str)
                else engine_or_url
            )
        finally:
            # Tracebacks show local names, and a URL may hold a password.
            del engine_or_url
        _require_usable(engine, who)
        self._engine: Final = engine
        self.dialect: Final = engine.dialect.name
        self.is_sqlite: Final = self.dialect == "sqlite"
        self.insert: Final = _INSERTS[self.dialect]
        autocommit, transactional = _OPTIONS[self.dialect]
        self._autocommit = engine.execution_options(**autocommit)
        self._transactional = engine.execution_options(**transactional)
        record_process(engine)

    @property
    def engine(self) -> AsyncEngine:
        """The engine, always the same one; its pool is that of the running loop.

        Raises:
            ConfigurationError: it is in use on another event loop.
        """
        with suppress(RuntimeError):  # no loop is running: nothing is opened yet
            asyncio.get_running_loop()
            bind_pool(self._engine, self._who)
        return self._engine

    @property
    def lock(self) -> asyncio.Lock:
        """A lock of the running event loop, for what one task does for all."""
        return bind_pool(self._engine, self._who).lock

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[AsyncConnection, None]:
        """Open a connection on which `execute_and_commit` commits each statement.

        Raises:
            StoreUnavailableError: the database failed, or did not answer in time.
            ConfigurationError: it was closed, or is in use on another event loop.
        """
        async with self._connected(self._autocommit) as connection:
            yield connection

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[AsyncConnection, None]:
        """Open a transaction, which is committed at the end of the block.

        An exception inside the block rolls it back, and leaves as it is.

        Raises:
            StoreUnavailableError: the database failed, or did not answer in time. If
                it was the commit that failed, it may have taken effect.
            ConfigurationError: it was closed, or is in use on another event loop; or
                the engine commits each statement.
        """
        async with self._connected(self._transactional) as connection:
            await step(self.dialect, connection.begin(), connection)
            yield await require_connection(connection)
            await commit(connection)

    def now(
        self, clock: Clock, after: timedelta = timedelta(0)
    ) -> ColumnElement[datetime]:
        """Return an SQL expression for the time.

        It goes into statements that are made anyway: into the values of an INSERT or
        UPDATE, into a WHERE (an index is used), or as one more column of a SELECT.

        On PostgreSQL it is the server's ``clock_timestamp()``, so that machines whose
        clocks differ agree. On SQLite, whose processes share a machine, it is the time
        of `clock`; so it is everywhere if `clock` is no `SystemClock`, as a `FakeClock`
        is.

        Args:
            clock: The clock of the caller.
            after: Added to the time.
        """
        if self.is_sqlite or not isinstance(clock, SystemClock):
            return literal(clock.now() + after, UtcDateTime())
        now = func.clock_timestamp(type_=sa.DateTime(timezone=True))
        # In a subquery it is evaluated once for a statement, so that an index can be
        # searched for it.
        query = select(now + literal(after, sa.Interval())).scalar_subquery()
        return sa.type_coerce(query, UtcDateTime())

    @asynccontextmanager
    async def _connected(
        self, engine: AsyncEngine
    ) -> AsyncGenerator[AsyncConnection, None]:
        if self._closed:
            raise ConfigurationError(f"this {self._who} was closed")
        bind_pool(self._engine, self._who)
        connection = await self._check_out(engine)
        try:
            yield connection
        finally:
            await _give_back(connection)

    async def _check_out(self, engine: AsyncEngine) -> AsyncConnection:
        """Return a connection, a new one if those of the pool broke meanwhile."""
        while True:
            connection = engine.connect()
            await step(self.dialect, connection.start())
            try:
                if not self._owned or await _is_alive(connection):
                    return connection
                await step(self.dialect, connection.invalidate(), connection)
            except BaseException:
                await _give_back(connection)
                raise
            await _give_back(connection)

    async def aclose(self) -> None:
        """End it, and its connections if they are its own.

        Raises:
            ConfigurationError: it is in use on another event loop.
        """
        if self._owned:
            if not is_bound_here(self._engine):
                bind_pool(self._engine, self._who)  # which replaces the pool
            try:
                await step(self.dialect, self._engine.dispose())
            except StoreUnavailableError:
                drop_pool(self._engine)
        self._closed = True


async def _is_alive(connection: AsyncConnection) -> bool:
    """Return false if a connection of the pool does not answer any more."""
    proxied = await connection.get_raw_connection()
    uses = cast("dict[str, float]", proxied.record_info)
    now = asyncio.get_running_loop().time()
    last, uses[_USED_AT] = uses.get(_USED_AT, now), now  # or it was opened just now
    if now - last < ALIVE_S:
        return True
    try:
        waiting = connection.run_sync(_ping)
        await step(connection.dialect.name, waiting, connection, PING_LIMIT_S)
    except StoreUnavailableError:
        return False
    return True


def _ping(connection: Connection) -> None:
    driver = cast("DBAPIConnection", connection.connection.dbapi_connection)
    connection.dialect.do_ping(driver)


async def _give_back(connection: AsyncConnection) -> None:
    """Return a connection to its pool, which rolls it back, or discard it."""
    # In a task of its own, so that it is returned if the caller is cancelled meanwhile.
    closing = asyncio.create_task(_close(connection))
    with suppress(StoreUnavailableError):  # its socket is closed
        await step(connection.dialect.name, asyncio.shield(closing), connection)


async def _close(connection: AsyncConnection) -> None:
    with suppress(Exception):  # the outcome of its statements is known by now
        await connection.close()


async def require_connection(caller: object) -> AsyncConnection:
    """The connection in whose transaction a caller works.

    Raises:
        ConfigurationError: if it is none, or one that could not undo anything.
    """
    connection = caller
    if isinstance(caller, AsyncSession):
        bind = caller.get_bind()
        connection = await step(bind.dialect.name, caller.connection())
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


def _require_usable(engine: object, who: str) -> None:
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
            "a database in memory has one connection for all, so no task has a "
            "transaction of its own; use a file"
        )


def _engine_at(text: str) -> AsyncEngine:
    # The causes are not chained: some of them show the URL, and with it the password.
    try:
        url = make_url(text)
        if url.get_backend_name() == "sqlite":
            url = url.update_query_dict({"timeout": SQLITE_BUSY_S, **url.query})
        options = _driver_options(url)
        url = url.difference_update_query([_POOLER])
        return create_async_engine(url, hide_parameters=True, connect_args=options)
    except ConfigurationError:
        raise
    except ImportError as error:
        raise ConfigurationError(
            f"the database driver {error.name} is not installed; {_URLS}"
        ) from None
    except (SQLAlchemyError, ValueError):
        raise ConfigurationError(
            f"this is not the URL of a database driver for asyncio; {_URLS}"
        ) from None
    finally:
        del text


def _driver_options(url: URL) -> dict[str, object]:
    pooled = url.query.get(_POOLER, "false")
    if pooled == "false":
        return {}
    options = _POOLER_OPTIONS.get(url.get_driver_name())
    if options is None or pooled != "true":
        raise ConfigurationError(
            f"{_POOLER} must be true or false, in a URL of postgresql+asyncpg or "
            f"postgresql+psycopg; got {shown(pooled)}"
        )
    return dict(options)
