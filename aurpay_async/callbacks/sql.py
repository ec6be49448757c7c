"""One memory for many processes: a table in SQLite or PostgreSQL.

Every step of the store is one statement that commits by itself and changes a row only
if it is still as it was read, so the database lets one of several processes through.
No lock is held between two steps, and the engine's isolation level does not matter.

What a handler does can be recorded in the same transaction as that it was handled::

    async with engine.begin() as connection:
        await connection.execute(...)
        await store.confirm(claim, "paid", connection)

Then either both happened or neither, whenever the process dies. A handler that outlives
its lease cannot commit once another one has taken its place.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast, final

try:
    from sqlalchemy import (
        BigInteger,
        Column,
        MetaData,
        Table,
        Text,
        delete,
        make_url,
        or_,
        select,
        update,
    )
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError
    from sqlalchemy.ext.asyncio import (
        AsyncConnection,
        AsyncEngine,
        AsyncSession,
        create_async_engine,
    )
    from sqlalchemy.pool import StaticPool
    from sqlalchemy.schema import CreateTable
except ImportError as _error:
    raise ImportError(
        "SqlReplayStore needs SQLAlchemy: pip install 'aurpay-async[sql]'"
    ) from _error

from .._clock import SystemClock
from ..errors import ConfigurationError, shown
from ._replay import LEASE, REMEMBER, Claim, Taken, decide, lost, new_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import CursorResult, Executable, Update

    from .._clock import Clock
    from ._replay import Handled, Kind

__all__ = ["SqlReplayStore"]

_rows: Final = Table(
    "aurpay_callbacks",
    MetaData(),
    Column("key", Text, primary_key=True),
    Column("handled", Text),
    Column("token", Text),
    Column("lease_until", BigInteger, nullable=False),
    Column("touched", BigInteger, nullable=False),
)
_row: Final = _rows.c

#: How each database says: insert, unless it is there already.
_INSERTS: Final[Mapping[str, Callable[[Table], postgresql.Insert | sqlite.Insert]]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}

#: How long SQLite waits for another writer. Python's 5 s are short for a busy disk, and
#: whoever calls us has often given up after 30 s.
_SQLITE_WAIT_S: Final = "15"

#: Each one that fails means that somebody else got further with this order meanwhile.
_TRIES: Final = 5

#: What to write instead.
_URLS: Final = (
    "write sqlite+aiosqlite:///callbacks.db after pip install 'aurpay-async[sql]', "
    "or postgresql+asyncpg://user:password@host/name after pip install "
    "'aurpay-async[postgresql]'"
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@final
class SqlReplayStore:
    """Remembers in a database, for as many processes as share it.

    Made from a URL, it has connections of its own: close it, or use it in ``async
    with``, and on one event loop only. Made from an engine, it leaves that open.

    What goes wrong in the database leaves as SQLAlchemy raised it. Leases end by the
    clocks of the machines, which should agree within a fraction of a lease; that one
    handler takes effect holds anyhow, if it confirms in its own transaction.

    .. versionadded:: 0.1.0
    """

    #: Has the table ``aurpay_callbacks``; for Alembic's ``target_metadata``.
    metadata: ClassVar[MetaData] = _rows.metadata

    def __init__(
        self, engine_or_url: AsyncEngine | str, *, clock: Clock | None = None
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            engine_or_url: Such as ``sqlite+aiosqlite:///callbacks.db`` or
                ``postgresql+asyncpg://user:password@host/name``.
            clock: What tells the time.

        Raises:
            ConfigurationError: if that is no database that can do this.
        """
        self._owned = isinstance(engine_or_url, str)
        self._engine = _engine(engine_or_url)
        self._insert = _INSERTS[self._engine.dialect.name]
        # On PostgreSQL, without two more round trips for each step. SQLite's engines
        # may have listeners that begin transactions by themselves.
        committing = {"isolation_level": "AUTOCOMMIT"}
        on_server = self._engine.dialect.name == "postgresql"
        self._connections = self._engine.execution_options(
            **(committing if on_server else {})
        )
        self._clock = SystemClock() if clock is None else clock
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End it, and its connections if they are its own."""
        self._closed = True
        if self._owned:
            await self._engine.dispose()

    async def create_tables(self) -> None:
        """Make the table where it is missing; any number of processes may, at once."""
        create = CreateTable(_rows, if_not_exists=True)
        async with self._connect() as connection:
            try:
                await _run(connection, create)
            except (IntegrityError, ProgrammingError):
                # PostgreSQL says so to one of two that create it at the same moment;
                # by then it is there.
                await _run(connection, create)

    async def claim(
        self, key: str, kind: Kind, lease: timedelta = LEASE
    ) -> Claim | Taken:
        """As `ReplayStore.claim`; the lease counts from when it was asked for."""
        async with self._connect() as connection:
            for _ in range(_TRIES):
                answer = await self._try_to_claim(connection, key, kind, lease)
                if answer is not None:
                    return answer
        return Taken.BUSY

    async def release(self, claim: Claim) -> None:
        """As `ReplayStore.release`."""
        async with self._connect() as connection:
            await _run(connection, _held(claim).values(token=None))

    async def confirm(
        self, claim: Claim, handled: Handled, connection: object = None
    ) -> None:
        """As `ReplayStore.confirm`.

        With `connection`, an ``AsyncConnection`` or ``AsyncSession``, it is recorded in
        that one's transaction and stands or falls with it: you commit. A handler that
        has an open transaction in the same SQLite must give it: without, this would
        wait for that one to end.
        """
        ended = _held(claim).values(handled=handled, token=None, touched=self._now())
        if connection is None:
            async with self._connect() as own:
                done = await _run(own, ended)
        else:
            done = await _execute(await _connection_of(connection), ended)
        if done.rowcount != 1:
            raise lost(claim)

    async def holds(self, claim: Claim) -> bool:
        """As `ReplayStore.holds`."""
        mine = select(_row.key).where(_row.key == claim.key, _row.token == claim.token)
        async with self._connect() as connection:
            return (await _run(connection, mine)).first() is not None

    async def prune(self, older_than: timedelta = REMEMBER) -> int:
        """Forget the orders that nobody has touched for so long, nor handles now.

        A notification that comes again after that is handled again.

        Returns:
            How many were forgotten.
        """
        now = self._now()
        forgotten = delete(_rows).where(
            _row.touched <= now - older_than // _MILLISECOND,
            or_(_row.token.is_(None), _row.lease_until <= now),
        )
        async with self._connect() as connection:
            return (await _run(connection, forgotten)).rowcount

    async def _try_to_claim(
        self, connection: AsyncConnection, key: str, kind: Kind, lease: timedelta
    ) -> Claim | Taken | None:
        """``None`` if the row was changed between two steps: look again."""
        now, token = self._now(), new_token()
        until = now + lease // _MILLISECOND
        mine = {"token": token, "lease_until": until, "touched": now}
        new = self._insert(_rows).values(key=key, **mine).on_conflict_do_nothing()
        if (await _run(connection, new)).rowcount == 1:
            return Claim(key=key, token=token, previous=None)
        found = await _run(connection, select(_rows).where(_row.key == key))
        seen = found.one_or_none()
        if seen is None:
            return None
        handled = cast("Handled | None", seen.handled)
        # A clock that was set back by hours must not make a lease longer by hours.
        left, whole = seen.lease_until - now, seen.lease_until - seen.touched
        busy = seen.token is not None and 0 < left <= 2 * whole
        taken = decide(handled, kind, busy=busy)
        if taken is not None:
            return taken
        unchanged = update(_rows).where(
            _row.key == key,
            _row.handled.is_not_distinct_from(handled),
            _row.token.is_not_distinct_from(seen.token),
        )
        if (await _run(connection, unchanged.values(mine))).rowcount == 1:
            return Claim(key=key, token=token, previous=handled)
        return None

    def _connect(self) -> AsyncConnection:
        """For ``async with``: every statement on it is committed by `_run`."""
        if self._closed:
            raise ConfigurationError("this SqlReplayStore was closed")
        return self._connections.connect()

    def _now(self) -> int:
        return (self._clock.now() - _EPOCH) // _MILLISECOND


def _held(claim: Claim) -> Update:
    """The row of a claim, if that claim still holds it."""
    return update(_rows).where(_row.key == claim.key, _row.token == claim.token)


async def _run(connection: AsyncConnection, statement: Executable) -> CursorResult[Any]:
    """One step: a statement, committed."""
    result = await _execute(connection, statement)
    await connection.commit()
    return result


async def _execute(
    connection: AsyncConnection, statement: Executable
) -> CursorResult[Any]:
    # Of an INSERT, SQLAlchemy forgets the count unless it is told not to.
    options = {"preserve_rowcount": True}
    return await connection.execute(statement, execution_options=options)


async def _connection_of(caller: object) -> AsyncConnection:
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
        f"transaction the handler works, not {shown(caller)}"
    )


def _engine(given: object) -> AsyncEngine:
    """The engine that was given, or one for the URL; refused if it cannot do this."""
    engine = _engine_at(given) if isinstance(given, str) else given
    if not isinstance(engine, AsyncEngine):
        raise ConfigurationError(
            "SqlReplayStore takes an AsyncEngine of SQLAlchemy or a URL, not "
            f"{shown(engine)}"
        )
    if engine.dialect.name not in _INSERTS:
        raise ConfigurationError(
            f"SqlReplayStore knows SQLite and PostgreSQL, not {engine.dialect.name}"
        )
    if isinstance(engine.pool, StaticPool):
        # One connection has one transaction: a claim would commit a handler's half.
        raise ConfigurationError(
            "a database in memory has one connection for all, so nobody has a "
            "transaction of its own; use a file, or MemoryReplayStore"
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
