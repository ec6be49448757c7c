"""Connections, transactions and time limits of the database.

SQLite lets one connection write at a time, and rejects a write in a transaction that
has read before another connection wrote. So the store's transactions begin with a
write; on PostgreSQL they lock the rows that they need.

A connection of an asyncio driver is bound to its process and event loop. So these are
recorded on the pool itself, where all users of an engine see them, and compared at each
use. A pool of another process, or of a closed loop, is replaced; the engine stays the
same object.

A step is a call that waits for the database: connect, execute, commit, close. Code of
the merchant runs between the steps of a transaction and never inside one, so its
exceptions are not translated. A step that fails, or exceeds its time limit, raises a
`StoreUnavailableError`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sqlite3
import sys
import warnings
from asyncio import gather, shield
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from selectors import EVENT_READ, DefaultSelector
from threading import Thread
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, final

import attrs
import sqlalchemy as sa
from sqlalchemy import bindparam, event, func, literal, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    DisconnectionError,
    SQLAlchemyError,
    StatementError,
    UnboundExecutionError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.pool import NullPool, StaticPool
from sqlalchemy.types import TypeDecorator

from .._core.clock import SystemClock
from .._core.sqlstate import causes_of, sqlstate_of
from ..errors import AurpayError, ConfigurationError, StoreUnavailableError, shown

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from .._core.clock import Clock


@final
class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC, to the microsecond: ``timestamptz`` on PostgreSQL.

    SQLite has no time zones, so there it is stored as text without one, and read as
    UTC. The texts sort in the order of time.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime | None, dialect: sa.Dialect
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
        self, value: datetime | None, dialect: sa.Dialect
    ) -> datetime | None:
        """Return the time in UTC; psycopg returns it in the zone of the session."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return value.replace(tzinfo=UTC)
        return value.astimezone(UTC)


#: The attribute of a pool with its `PoolOwner`.
_OWNER: Final = "_aurpay_async_owner"


@attrs.frozen(eq=False)
class PoolOwner:
    """The process and the event loop that the connections of a pool belong to."""

    process: int = attrs.field(factory=os.getpid)
    #: ``None`` until the first use.
    loop: asyncio.AbstractEventLoop | None = None
    #: For work that one task does for all tasks of this loop.
    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    #: Held by the task that writes to SQLite. The others queue in their order: SQLite
    #: would let each try again at intervals, and some of many wait for seconds.
    writing: asyncio.Lock = attrs.field(factory=asyncio.Lock)


def drop_pool(engine: AsyncEngine) -> None:
    """Give an engine an empty pool, and close the sockets of the old one.

    This runs in a thread without an event loop: the finaliser of aiosqlite reports to
    the running loop from another thread, and the loop may be closed before.
    """
    dropping = Thread(target=_drop_pool, args=[engine])
    dropping.start()
    dropping.join()


def _drop_pool(engine: AsyncEngine) -> None:
    with warnings.catch_warnings():
        # Drivers warn about each connection that was not closed.
        warnings.simplefilter("ignore")
        engine.sync_engine.dispose(close=False)
        gc.collect()


#: Pools of the parent process, so that their connections are not finalised here.
_inherited: Final[list[sa.Pool]] = []

_T = TypeVar("_T")

#: The time limit of one step in seconds, by dialect.
#:
#: PostgreSQL answers within milliseconds unless another transaction holds the row. TCP
#: reports a server that disappeared only after many minutes. 10 s is below the timeouts
#: of callback senders and HTTP clients, which are 15 s or more. SQLite waits up to 15 s
#: for another writer (`SQLITE_BUSY_S`), and a task may wait as long before that for a
#: connection of the pool.
STEP_LIMIT_S: Final[dict[str, float]] = {"postgresql": 10.0, "sqlite": 32.0}

_POOLER_ADVICE: Final = (
    "a pooler such as PgBouncer in transaction mode gave the connection to another "
    "client between two statements: add ?pgbouncer=true to the URL, or set your engine "
    "up as the section on poolers of the documentation says"
)
_LOGIN_ADVICE: Final = (
    "the server rejects the user or the password of the URL: correct them, or set the "
    "password again at the server; its special characters are percent-encoded in the "
    "URL, such as %40 for @"
)

#: What to do, by PostgreSQL's SQLSTATE (invalid_sql_statement_name and
#: duplicate_prepared_statement, invalid_authorization_specification and
#: invalid_password, in_failed_sql_transaction, invalid_catalog_name) or by the error.
_ADVICE: Final[Mapping[str | type[BaseException], str]] = {
    **dict.fromkeys(("26000", "42P05"), _POOLER_ADVICE),
    **dict.fromkeys(("28000", "28P01"), _LOGIN_ADVICE),
    "25P02": "an earlier statement of this transaction failed, and your code ignored "
    "that: write ON CONFLICT DO NOTHING, or run it in connection.begin_nested()",
    "3D000": "the server has no database of that name: create it, or correct the URL",
    socket.gaierror: "the host of the URL has no address: correct its name; an @ in "
    "the password is written %40, and / is written %2F",
    PoolTimeoutError: "wait for nothing but the database within a transaction; or pass "
    "an engine of your own, such as create_async_engine(url, pool_size=30)",
}


async def execute(
    connection: AsyncConnection,
    statement: sa.Executable,
    parameters: Mapping[str, object] | None = None,
) -> sa.CursorResult[Any]:
    """Execute a statement and return its result; the result has its `rowcount`."""
    # Without this option, SQLAlchemy drops the row count of an INSERT.
    options = {"preserve_rowcount": True}
    return await step(
        connection.dialect.name,
        connection.execute(statement, parameters, execution_options=options),
        connection,
    )


async def execute_and_commit(
    connection: AsyncConnection,
    statement: sa.Executable,
    parameters: Mapping[str, object] | None = None,
) -> sa.CursorResult[Any]:
    """Execute a statement as `execute` does, and commit it."""
    result = await execute(connection, statement, parameters)
    await commit(connection)
    return result


async def commit(connection: AsyncConnection) -> None:
    """Commit; if the commit fails, discard the connection.

    SQLite cannot commit while another connection reads: the transaction stays open.
    SQLAlchemy considers it ended, so its next user would commit its writes.
    """
    dialect = connection.dialect.name
    try:
        await step(dialect, connection.commit(), connection)
    except BaseException:
        with suppress(AurpayError):  # the failure of the commit is raised
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
        dialect: The key of `STEP_LIMIT_S`.
        waiting: The call; no code of the merchant runs in it.
        connection: The connection that it uses; its socket is closed at the limit.
        limit_s: The limit in seconds, if not that of the dialect.

    Raises:
        ConfigurationError: the connection belongs to another event loop.
    """
    limit_s = STEP_LIMIT_S[dialect] if limit_s is None else limit_s
    handled = sys.exc_info()[1]  # the caller's, if it is handling an error
    loop = asyncio.get_running_loop()
    # The socket is closed first, so that the driver fails at once. After a
    # cancellation alone, the driver and SQLAlchemy would wait for the server.
    closing = loop.call_later(limit_s, _close_socket, connection)
    try:
        async with asyncio.timeout_at(closing.when() + (connection is not None)):
            return await waiting
    except asyncio.CancelledError as error:
        # The connection is closed, but its cursor holds a lock on SQLite until the
        # frames of this traceback are released.
        clear_frames(error.__traceback__)
        raise
    except AurpayError:
        raise
    except Exception as error:  # noqa: BLE001 - drivers raise OSError and more
        failure, cause = error, _cause(error, handled)
    finally:
        closing.cancel()
    # Raised outside the handler, so that the driver's error does not become the
    # context: its frames hold the password.
    if loop.time() >= closing.when():
        problem = f"the database did not answer in {limit_s:g} s"
        raise StoreUnavailableError(problem) from cause
    raise _translated(failure, cause, sqlstate_of(cause)) from cause


def _close_socket(connection: AsyncConnection | None) -> None:
    """Shut the socket of a connection down, if it has one: its driver stops waiting."""
    sync = None if connection is None else connection.sync_connection
    if sync is None or sync.closed or sync.invalidated:
        return
    driver: Any = sync.connection.driver_connection
    if hasattr(driver, "terminate"):  # asyncpg
        driver.terminate()
    elif hasattr(driver, "fileno"):  # psycopg closes the descriptor itself
        with suppress(OSError), socket.socket(fileno=os.dup(driver.fileno())) as other:
            other.shutdown(socket.SHUT_RDWR)


def _translated(
    error: Exception, cause: BaseException, state: str | None
) -> AurpayError:
    # asyncio's, for objects of another loop. Others pass: "can't start new thread".
    if type(error) is RuntimeError and "loop" in str(error):
        return ConfigurationError(
            "the engine has connections of another event loop: `await "
            "engine.dispose()` before that loop ends, or create an engine for each loop"
        )
    what = type(cause).__name__ + ("" if state is None else f" {state}")
    if isinstance(cause, sqlite3.Error):
        what = str(cause)  # names tables and columns, and no values
    elif isinstance(cause, PoolTimeoutError):
        what = "all connections of its pool are in use"
    problem = StoreUnavailableError(f"the database cannot be used: {what}")
    problem.advice = _ADVICE.get(state or type(cause))
    return problem


def _cause(error: Exception, handled: BaseException | None) -> BaseException:
    """Return the driver's own error, without the frames of its tracebacks.

    Frames of drivers hold the password, and SQLAlchemy's exceptions print parameters,
    which contain payment secrets.
    """
    for one in causes_of(error, handled):
        clear_frames(one.__traceback__)
        one.__traceback__ = None
    cause: BaseException = error
    if isinstance(cause, StatementError):
        cause = cause.orig or cause
    if type(cause).__module__.startswith("sqlalchemy.dialects"):  # wraps asyncpg's
        cause = cause.__cause__ or cause
    return cause


#: Seconds that SQLite waits for another writer. Python's 5 s are short for a busy disk.
SQLITE_BUSY_S: Final = "15"

#: Seconds in the pool after which a connection is pinged before it is used: shorter
#: than the idle timeouts of firewalls and poolers.
ALIVE_S: Final = 5.0

#: The time limit of a ping on an idle connection in seconds. After it a new connection
#: is opened, so a broken connection delays a call and does not fail it.
PING_LIMIT_S: Final = 2.0

#: The key in the `info` of a connection of the time since when it is in the pool.
_IDLE_SINCE: Final = "aurpay_async_idle_since"

#: Driver options for a pooler in transaction mode: no statement is prepared under a
#: name, because the next transaction may get another server connection, which does not
#: have it. SQLAlchemy must not cache asyncpg's unnamed statement, because the next one
#: replaces it.
_POOLER_OPTIONS: Final[Mapping[str, Mapping[str, object]]] = {
    "asyncpg": {
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": str,
    },
    "psycopg": {"prepare_threshold": None},
}

#: The URL parameter that selects these options; hosts and other ORMs use the same name.
_POOLER: Final = "pgbouncer"

#: The hint of errors about a URL.
_URLS: Final = (
    "write sqlite+aiosqlite:///orders.db after pip install 'aurpay-async[sql]', "
    "or postgresql+asyncpg://user:password@host/name after pip install "
    "'aurpay-async[postgresql]'"
)


@final
class Database:
    """A database engine with a pool bound to the current process and event loop."""

    def __init__(self, engine_or_url: AsyncEngine | str, user: str) -> None:
        """Validate the arguments of the public class `user`, without I/O.

        Raises:
            ConfigurationError: the database is not supported.
        """
        self._owned = isinstance(engine_or_url, str)
        self._user = user
        self._closed = False
        given = engine_or_url
        try:
            engine = _engine_at(given) if isinstance(given, str) else given
        finally:
            # Tracebacks show local names, and a URL may hold a password.
            del engine_or_url, given
        _require_usable(engine, user)
        self._engine: Final = engine
        self.dialect: Final = engine.dialect.name
        self.is_sqlite: Final = self.dialect == "sqlite"
        #: The INSERT of the dialect, which has ON CONFLICT.
        self.insert: Final[Callable[[sa.Table], postgresql.Insert | sqlite.Insert]] = (
            sqlite.insert if self.is_sqlite else postgresql.insert
        )
        self._autocommit = self._transactional = engine
        # Engines of SQLite may have listeners that begin transactions, so their options
        # are not changed. On PostgreSQL, autocommit saves two round trips, and both are
        # independent of the engine's isolation level.
        if not self.is_sqlite:
            self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
            self._transactional = engine.execution_options(
                isolation_level="READ COMMITTED"
            )
        self._has_transactions = _has_transactions(self._transactional.sync_engine)
        pool = engine.sync_engine.pool
        # The process that created an engine owns the connections of its pool.
        setattr(pool, _OWNER, getattr(pool, _OWNER, None) or PoolOwner())

    @property
    def engine(self) -> AsyncEngine:
        """The engine, always the same one; its pool is that of the running loop.

        Raises:
            ConfigurationError: it is in use on another event loop.
        """
        with suppress(RuntimeError):  # no loop is running: nothing is opened yet
            asyncio.get_running_loop()
            self._bind()
        return self._engine

    @property
    def lock(self) -> asyncio.Lock:
        """A lock of the running event loop, for work that one task does for all."""
        return self._bind().lock

    @asynccontextmanager
    async def connect(
        self, engine: AsyncEngine | None = None, *, writes: bool = False
    ) -> AsyncGenerator[AsyncConnection, None]:
        """Open a connection on which `execute_and_commit` commits each statement.

        Args:
            engine: The engine with another isolation level, for a transaction.
            writes: Whether to wait on SQLite until no other task here writes.

        Raises:
            ConfigurationError: it was closed, or is in use on another event loop.
        """
        if self._closed:
            raise ConfigurationError(f"this {self._user} was closed")
        owner = self._bind()
        engine, has_turn = engine or self._autocommit, writes and self.is_sqlite
        if has_turn:  # first: a task that waits for its turn needs no connection
            await step(self.dialect, owner.writing.acquire())
        try:
            while True:  # until a pooled connection is not broken, or one is new
                connection = engine.connect()
                await step(self.dialect, connection.start())
                try:
                    if not self._owned or await _is_alive(connection):
                        yield connection
                        return
                    await step(self.dialect, connection.invalidate(), connection)
                finally:
                    # In a separate task, so that it returns to the pool, which rolls it
                    # back, even if the caller is cancelled. An exception is ignored:
                    # the outcome of the statements is known by now.
                    returning = gather(connection.close(), return_exceptions=True)
                    with suppress(StoreUnavailableError):  # its socket is closed
                        await step(self.dialect, shield(returning), connection)
        finally:
            if has_turn:
                owner.writing.release()

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[AsyncConnection, None]:
        """Open a transaction, which is committed at the end of the block.

        An exception inside the block rolls it back and is raised unchanged.

        Raises:
            ConfigurationError: it was closed, or is in use on another event loop; or
                the engine commits each statement.
        """
        if not self._has_transactions:
            raise _no_transaction(self._engine)
        async with self.connect(self._transactional, writes=True) as connection:
            yield connection
            await commit(connection)

    def now(
        self, clock: Clock, after: timedelta = timedelta(0)
    ) -> sa.ColumnElement[datetime]:
        """Return an SQL expression for the time, plus `after`.

        Its value is that of the execution, so a statement that contains it can be built
        once. A WHERE with it uses an index.

        On PostgreSQL it is the server's ``clock_timestamp()``, so that machines with
        different clocks agree. On SQLite, and with a `FakeClock` on both, it is the
        time of `clock`.
        """
        if self.is_sqlite or not isinstance(clock, SystemClock):
            return bindparam(
                None, callable_=lambda: clock.now() + after, type_=UtcDateTime()
            )
        now = func.clock_timestamp(type_=sa.DateTime(timezone=True))
        # A subquery is evaluated once per statement, so that an index can be used.
        query = select(now + literal(after, sa.Interval())).scalar_subquery()
        return sa.type_coerce(query, UtcDateTime())

    def _bind(self) -> PoolOwner:
        """Bind the engine's pool to this process and the running event loop.

        Raises:
            ConfigurationError: the pool is in use on another event loop.
        """
        engine, here = self._engine.sync_engine, asyncio.get_running_loop()
        owner: PoolOwner = getattr(engine.pool, _OWNER, None) or PoolOwner()
        if owner.loop is here and owner.process == os.getpid():
            return owner
        if isinstance(engine.pool, NullPool):
            pass  # it keeps no connection
        elif owner.process != os.getpid():
            # A forked child shares its parent's sockets: closing them here would end
            # the parent's transactions.
            _inherited.append(engine.pool)
            engine.dispose(close=False)
        elif owner.loop is not None and owner.loop.is_closed():
            drop_pool(self._engine)
        elif owner.loop is not None:
            raise ConfigurationError(
                f"this {self._user} is in use on another event loop; create one for "
                "each loop, or pass an engine with poolclass=NullPool"
            )
        owner = PoolOwner(loop=here)
        setattr(engine.pool, _OWNER, owner)
        return owner

    async def aclose(self) -> None:
        """Reject further use; close the pool if the engine was created from a URL.

        Raises:
            ConfigurationError: it is in use on another event loop.
        """
        if self._owned:
            self._bind()
            try:
                await step(self.dialect, self._engine.dispose())
            except StoreUnavailableError:
                drop_pool(self._engine)
        self._closed = True


async def _is_alive(connection: AsyncConnection) -> bool:
    """Return false if a pooled connection that was idle does not answer."""
    pooled = cast("sa.Connection", connection.sync_connection).connection
    idle_since = pooled.info.get(_IDLE_SINCE)
    if idle_since is None:  # it is new
        return True
    idle_s = SystemClock().monotonic() - idle_since
    if idle_s < ALIVE_S:
        return True
    try:
        waiting = connection.run_sync(_ping)
        await step(connection.dialect.name, waiting, connection, PING_LIMIT_S)
    except StoreUnavailableError:
        return False
    return True


def _replace_closed(
    _: DBAPIConnection, record: ConnectionPoolEntry, pooled: PoolProxiedConnection
) -> None:
    """Let the pool replace a connection that the server has closed, as at a restart."""
    if _IDLE_SINCE in record.info and _may_be_closed(pooled):
        raise DisconnectionError


def _may_be_closed(pooled: PoolProxiedConnection) -> bool:
    """Return true if an idle connection has received something, such as its end."""
    driver: Any = pooled.driver_connection
    if hasattr(driver, "is_closed"):  # asyncpg reads even if no statement is executed
        return cast("bool", driver.is_closed())
    if driver.closed:
        return True
    with DefaultSelector() as selector:
        selector.register(driver.fileno(), EVENT_READ)
        return bool(selector.select(0))


def _ping(connection: sa.Connection) -> None:
    driver = cast("DBAPIConnection", connection.connection.dbapi_connection)
    connection.dialect.do_ping(driver)


async def require_connection(caller: object) -> AsyncConnection:
    """Return the connection of a caller's transaction.

    Raises:
        ConfigurationError: `caller` is neither a connection nor a session, or commits
            each statement, so that nothing could be rolled back.
    """
    connection = caller
    if isinstance(caller, AsyncSession):
        with suppress(UnboundExecutionError):  # it has none, or one for each model
            dialect = caller.get_bind().dialect.name
            connection = await step(dialect, caller.connection())
    sync = (
        connection.sync_connection if isinstance(connection, AsyncConnection) else None
    )
    if sync is None or not _has_transactions(sync):
        raise _no_transaction(caller)
    return cast("AsyncConnection", connection)


def _has_transactions(of: sa.Connection | sa.Engine) -> bool:
    """Return false if each statement commits by itself."""
    # Set on the connection, on its engine, or in `create_async_engine`.
    default = getattr(of.dialect, "_on_connect_isolation_level", None)
    level = of.get_execution_options().get("isolation_level", default)
    return bool(level != "AUTOCOMMIT")


def _no_transaction(given: object) -> ConfigurationError:
    return ConfigurationError(
        "connection must be an AsyncConnection or AsyncSession of SQLAlchemy with a "
        f"transaction, not {shown(given)}; nothing can be undone if each statement "
        "commits by itself"
    )


def _require_usable(engine: object, user: str) -> None:
    if not isinstance(engine, AsyncEngine):
        raise ConfigurationError(
            f"{user} takes an AsyncEngine of SQLAlchemy or a URL, not {shown(engine)}"
        )
    if engine.dialect.name not in STEP_LIMIT_S:
        raise ConfigurationError(
            f"{user} supports SQLite and PostgreSQL, not {engine.dialect.name}"
        )
    if isinstance(engine.pool, StaticPool):
        # All tasks share one connection and its transaction: one task would commit the
        # unfinished transaction of another.
        raise ConfigurationError(
            "a database in memory has one connection, so tasks cannot have separate "
            "transactions; use a file"
        )


def _engine_at(text: str) -> AsyncEngine:
    try:
        return _create_engine(text)
    except ConfigurationError as error:
        problem = str(error)
    except ImportError as error:
        problem = f"the database driver {error.name} is not installed; {_URLS}"
    except (SQLAlchemyError, ValueError):
        problem = f"this is not the URL of a database driver for asyncio; {_URLS}"
    finally:
        del text
    # Raised outside the handler: the frames of the context show the password.
    raise ConfigurationError(problem)


def _create_engine(text: str) -> AsyncEngine:
    url = make_url(text)
    is_sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = {"connect_args": _driver_options(url)}
    if not is_sqlite:  # a pool fails before the step, also SQLite's with its 30 s
        options["pool_timeout"] = STEP_LIMIT_S["postgresql"] - 2
    else:
        url = url.update_query_dict({"timeout": SQLITE_BUSY_S, **url.query})
        options["pool_reset_on_return"] = None  # see `_reset`
    url = url.difference_update_query([_POOLER])
    engine = create_async_engine(url, hide_parameters=True, **options)
    event.listen(engine.sync_engine, "reset", _reset)
    if is_sqlite:
        event.listen(engine.sync_engine, "connect", _use_wal)
    else:
        event.listen(engine.sync_engine, "checkout", _replace_closed)
    return engine


def _use_wal(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """Set a new SQLite file to write-ahead logging, for readers beside a writer."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA page_count")
    if cursor.fetchone() == (0,):
        with suppress(sqlite3.OperationalError):  # another process is creating it
            cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()


def _reset(
    connection: DBAPIConnection,
    record: ConnectionPoolEntry,
    state: sa.pool.PoolResetState,
) -> None:
    """Record since when a connection is idle; roll an open transaction of SQLite back.

    A needless rollback would take as long as a query.
    """
    record.info[_IDLE_SINCE] = SystemClock().monotonic()
    driver = cast("Any", connection).driver_connection
    if state.asyncio_safe and getattr(driver, "in_transaction", False):
        connection.rollback()


def _driver_options(url: sa.URL) -> dict[str, object]:
    pooled = url.query.get(_POOLER, "false")
    options = _POOLER_OPTIONS.get(url.get_driver_name())
    if pooled == "false":
        return {}
    if options is None or pooled != "true":
        raise ConfigurationError(
            f"{_POOLER} must be true or false, in a URL of postgresql+asyncpg or "
            f"postgresql+psycopg; got {shown(pooled)}"
        )
    return dict(options)
