"""Connections, transactions and time limits of the database.

SQLite lets one connection write at a time, and rejects a transaction that reads
first and writes after another one has written meanwhile. So a transaction here begins
with a write; on PostgreSQL it locks the rows that it needs.

A connection of a driver for asyncio is useless elsewhere: its socket is shared with the
parent after a fork, its thread or its event loop is not there. So the process and the
loop of a pool are recorded on the pool itself, where all owners of an engine see them,
and compared at each use. A pool that belongs elsewhere is replaced; the engine stays
the same object.

A step is a call that waits for the database: connect, execute, commit, close. Code of
the merchant runs between the steps of a transaction and never inside one, so its
exceptions leave as they are.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sqlite3
import sys
import warnings
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from threading import Thread
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, final

import attrs
import sqlalchemy as sa
from sqlalchemy import func, literal, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.pool import NullPool, StaticPool

from .._core.clock import SystemClock
from .._core.sqlstate import causes_of, sqlstate_of
from ..errors import AurpayError, ConfigurationError, StoreUnavailableError, shown
from .tables import UtcDateTime

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
    from datetime import datetime

    from sqlalchemy import (
        URL,
        ColumnElement,
        Connection,
        CursorResult,
        Executable,
        Pool,
        Table,
    )
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from .._core.clock import Clock


#: The attribute of a pool that has its `PoolOwner`.
_OWNER: Final = "_aurpay_async_owner"


@attrs.frozen(eq=False)
class PoolOwner:
    """The process and the event loop that the connections of a pool belong to."""

    process: int
    #: ``None`` until the first use.
    loop: asyncio.AbstractEventLoop | None
    #: For work that one task does for all; it belongs to this loop, as the pool does.
    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)


def record_process(engine: AsyncEngine) -> None:
    """Record that the connections of an engine are, so far, those of this process."""
    setattr(engine.sync_engine.pool, _OWNER, _owner_of(engine))


def bind_pool(engine: AsyncEngine, user: str) -> PoolOwner:
    """Bind an engine's pool to this process and the running event loop.

    A pool of the parent process, or of a loop that was closed, is replaced by an empty
    one. Nothing is sent on its connections.

    Raises:
        ConfigurationError: the pool is in use on another event loop.
    """
    owner = _owner_of(engine)
    here = asyncio.get_running_loop()
    if owner.loop is here and owner.process == os.getpid():
        return owner
    if not isinstance(engine.sync_engine.pool, NullPool):  # which keeps no connection
        _detach(engine, owner, user)
    new = PoolOwner(os.getpid(), here)
    setattr(engine.sync_engine.pool, _OWNER, new)
    return new


def is_bound_here(engine: AsyncEngine) -> bool:
    """Return true if the running loop may close the engine's connections."""
    owner = _owner_of(engine)
    return (owner.process, owner.loop) == (os.getpid(), asyncio.get_running_loop())


def drop_pool(engine: AsyncEngine) -> None:
    """Give an engine an empty pool, and close the sockets of the old one.

    In a thread, which has no loop: the finaliser of aiosqlite has its own thread report
    to the running one, and that may be closed before.
    """
    dropping = Thread(target=_drop_pool, args=[engine])
    dropping.start()
    dropping.join()


def _drop_pool(engine: AsyncEngine) -> None:
    with warnings.catch_warnings():
        # Drivers warn of each connection that they find unclosed.
        warnings.simplefilter("ignore")
        engine.sync_engine.dispose(close=False)
        gc.collect()


def _owner_of(engine: AsyncEngine) -> PoolOwner:
    owner: PoolOwner | None = getattr(engine.sync_engine.pool, _OWNER, None)
    return owner or PoolOwner(os.getpid(), None)


def _detach(engine: AsyncEngine, owner: PoolOwner, user: str) -> None:
    if owner.process != os.getpid():
        # A forked child shares its parent's sockets: closing them here would end the
        # parent's transactions.
        _inherited.append(engine.sync_engine.pool)
        engine.sync_engine.dispose(close=False)
    elif owner.loop is not None and owner.loop.is_closed():
        drop_pool(engine)
    elif owner.loop is not None:
        raise ConfigurationError(
            f"this {user} is in use on another event loop; make one for each loop, "
            "or give it an engine with poolclass=NullPool"
        )


#: Pools of a process that this one was forked from; referenced, so that nothing in them
#: is ever finalised here.
_inherited: Final[list[Pool]] = []

_T = TypeVar("_T")

#: Seconds that one step may take, by dialect.
#:
#: Every statement finds its rows by an index, so PostgreSQL answers within
#: milliseconds unless another transaction holds the row. A connection whose other end
#: disappeared without a reset is silent for many minutes, until TCP gives up; 10 s is
#: below the 15 s and more after which the senders of callbacks and HTTP clients do.
#:
#: SQLite waits up to 15 s for another writer (`SQLITE_BUSY_S`), and a task may have to
#: wait as long for a connection of the pool before.
STEP_LIMIT_S: Final[dict[str, float]] = {"postgresql": 10.0, "sqlite": 32.0}

#: Seconds that a migration may take: an index on a large table takes minutes, and other
#: machines wait for the one that migrates.
MIGRATION_LIMIT_S: Final = 600.0

_SILENT: Final = "the database did not answer in {:g} s"

#: PostgreSQL's invalid_sql_statement_name and duplicate_prepared_statement.
_POOLER_STATES: Final = frozenset({"26000", "42P05"})

_POOLER_ADVICE: Final = (
    "a pooler such as PgBouncer in transaction mode gave the connection to another "
    "client between two statements: add ?pgbouncer=true to the URL, or set your engine "
    "up as the section on poolers of the documentation says"
)


async def execute(
    connection: AsyncConnection, statement: Executable
) -> CursorResult[Any]:
    """Execute a statement and return its result, whose `rowcount` can be read.

    Raises:
        StoreUnavailableError: the database failed, or did not answer in time.
    """
    # Of an INSERT, SQLAlchemy forgets the count unless it is told not to.
    options = {"preserve_rowcount": True}
    return await step(
        connection.dialect.name,
        connection.execute(statement, execution_options=options),
        connection,
    )


async def execute_and_commit(
    connection: AsyncConnection, statement: Executable
) -> CursorResult[Any]:
    """Execute a statement and commit it.

    Raises:
        StoreUnavailableError: the database failed, or did not answer in time.
    """
    result = await execute(connection, statement)
    await commit(connection)
    return result


async def commit(connection: AsyncConnection) -> None:
    """Commit; a connection whose commit failed does not return to its pool.

    Its transaction may still be open: SQLite cannot commit while another connection
    reads. SQLAlchemy takes a transaction whose commit failed for ended, so the pool
    would keep its lock, and its next user would commit what it wrote.

    Raises:
        StoreUnavailableError: the database failed, or did not answer in time; the
            commit may have taken effect.
    """
    dialect = connection.dialect.name
    try:
        await step(dialect, connection.commit(), connection)
    except BaseException:
        with suppress(AurpayError):  # the commit has failed, whatever this comes to
            await step(dialect, connection.invalidate(), connection)
        raise


async def step(
    dialect: str,
    waiting: Awaitable[_T],
    connection: AsyncConnection | None = None,
    limit_s: float | None = None,
) -> _T:
    """Await a call of SQLAlchemy within its time limit.

    Args:
        dialect: The name of the database, which has its limit in `STEP_LIMIT_S`.
        waiting: The call; no code of the merchant runs in it.
        connection: The connection that it uses. Its socket is closed when the time is
            over, because SQLAlchemy would wait for the server to close it.
        limit_s: Another limit, in seconds.

    Raises:
        StoreUnavailableError: the database failed, or did not answer in time.
        ConfigurationError: the connection belongs to another event loop.
    """
    limit_s = STEP_LIMIT_S[dialect] if limit_s is None else limit_s
    handled = sys.exc_info()[1]  # of the caller, if this cleans up after an error
    loop = asyncio.get_running_loop()
    # The socket is closed first, so that the driver fails at once. A driver that is
    # cancelled would wait for the server to cancel, and SQLAlchemy to close gracefully.
    closing = loop.call_later(limit_s, _close_socket, connection)
    try:
        async with asyncio.timeout_at(closing.when() + (connection is not None)):
            return await waiting
    except asyncio.CancelledError as error:
        # The connection is closed by now, but what it was reading has a lock for as
        # long as the cursor lives: until these frames are collected as garbage.
        clear_frames(error.__traceback__)
        raise
    except AurpayError:
        raise
    except Exception as error:  # noqa: BLE001 - drivers raise OSError and more
        failure, cause = error, _cause(error, handled)
    finally:
        closing.cancel()
    # Out here, so that the foreign error is no context: its frames hold the password.
    if loop.time() >= closing.when():
        raise StoreUnavailableError(_SILENT.format(limit_s)) from cause
    raise _translated(failure, cause, sqlstate_of(cause)) from cause


def _close_socket(connection: AsyncConnection | None) -> None:
    """Shut the socket of a connection down, so that its driver stops waiting."""
    sync = None if connection is None else connection.sync_connection
    if sync is None or sync.closed or sync.invalidated:
        return
    driver: Any = sync.connection.driver_connection
    if hasattr(driver, "terminate"):  # asyncpg
        driver.terminate()
    elif hasattr(driver, "fileno"):  # psycopg, which closes it itself
        with suppress(OSError), socket.socket(fileno=os.dup(driver.fileno())) as other:
            other.shutdown(socket.SHUT_RDWR)

    # SQLite has no socket.


def _translated(
    error: Exception, cause: BaseException, state: str | None
) -> AurpayError:
    if type(error) is RuntimeError:  # of asyncio, for objects of another loop
        return ConfigurationError(
            "the engine has connections of another event loop: `await "
            "engine.dispose()` before that loop ends, or make an engine for each loop"
        )
    what = type(cause).__name__ + ("" if state is None else f" {state}")
    if isinstance(cause, sqlite3.Error):
        what = str(cause)  # names tables and columns, and no values
    problem = StoreUnavailableError(f"the database cannot be used: {what}")
    if state in _POOLER_STATES:
        problem.advice = _POOLER_ADVICE
    return problem


def _cause(error: Exception, handled: BaseException | None) -> BaseException:
    """Return the driver's own error, without the frames of its tracebacks.

    Frames of drivers hold the password. What SQLAlchemy makes of a driver's error
    prints the parameters of the statement, and so payment secrets.
    """
    for one in causes_of(error, handled):
        clear_frames(one.__traceback__)
        one.__traceback__ = None
    cause: BaseException = error
    if isinstance(cause, DBAPIError):
        cause = cause.orig or cause
    if type(cause).__module__.startswith("sqlalchemy.dialects"):  # asyncpg's stand-in
        cause = cause.__cause__ or cause
    return cause


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
