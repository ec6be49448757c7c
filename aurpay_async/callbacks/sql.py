"""SqlInbox: the inbox of many processes, a table in SQLite or PostgreSQL.

Each step of the inbox is one statement that commits by itself and updates a row only if
it is unchanged since it was read (optimistic locking), so the database admits one of
several processes. No lock is held between two steps, and the engine's isolation level
does not matter.

A handler can record the notification in the transaction of its work::

    async with engine.begin() as connection:
        await connection.execute(...)
        await notification.ack(connection)

Then both are committed or neither, even if the process crashes. A handler that outlives
its lease cannot commit once another handler has claimed the notification.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast, final

try:
    from sqlalchemy import and_, bindparam, delete, false, or_, select, update
    from sqlalchemy.schema import CreateIndex, CreateTable
except ImportError as _error:
    raise ImportError(
        "SqlInbox needs SQLAlchemy: pip install 'aurpay-async[sql]'"
    ) from _error

from .._core.clock import SystemClock
from .._db.engine import Database, execute, execute_and_commit, require_connection
from .._db.tables import callbacks, inbox_metadata
from ..errors import StoreUnavailableError
from ._identity import LEASE, REMEMBER, Claim, Taken, claim_rejection, lease_expired

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, Executable, Insert, MetaData, Select, Update
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from .._core.clock import Clock
    from ._identity import CallerConnection, Handled, Kind

__all__ = ["SqlInbox"]

_row: Final = callbacks.c
#: The statements are built once, and executed with values of such parameters.
_KEY: Final[BindParameter[str]] = bindparam("row_key")
_TOKEN: Final[BindParameter[str]] = bindparam("held_token")

#: An UPDATE of a claim's row; no row matches after the claim has ended.
_HELD: Final = update(callbacks).where(_row.key == _KEY, _row.token == _TOKEN)
_RELEASE: Final = _HELD.values(token=None)
#: Without a result: it reads no row.
_PING: Final = select(_row.key).where(false())
_HOLDS: Final = select(_row.key).where(_row.key == _KEY, _row.token == _TOKEN)

#: Each failed try means that another process has updated the row meanwhile.
_TRIES: Final = 5
#: Rows that `prune` deletes in one transaction: callbacks wait for milliseconds.
_BATCH: Final = 1_000
#: A longer lease or age counts as this: its end would be a year that neither Python nor
#: the database has.
_MAX_PERIOD: Final = timedelta(days=36_500)


@final
class SqlInbox:
    """An inbox in a database, shared by any number of processes.

    Created from a URL, it has its own connections: close it, or use it in ``async
    with``. Created from an engine, it leaves the engine open. Its connections belong to
    one event loop: a forked process, and a new loop after the old one was closed, open
    new connections.

    A failure of the database raises `StoreUnavailableError`, as does a database that
    does not answer within seconds.

    On PostgreSQL, leases use the clock of the server, so the clocks of the machines may
    differ. On SQLite, all processes share the clock of one machine.
    """

    #: The table ``aurpay_callbacks``, for Alembic's ``target_metadata``.
    #: (`OrderStore.metadata` has it as well.)
    metadata: ClassVar[MetaData] = inbox_metadata

    def __init__(
        self, engine_or_url: AsyncEngine | str, *, clock: Clock | None = None
    ) -> None:
        """Prepare the inbox, without opening a connection.

        Args:
            engine_or_url: Such as ``sqlite+aiosqlite:///callbacks.db`` or
                ``postgresql+asyncpg://user:password@host/name``.
            clock: Replaces the clock of the machine, and of the server: for tests.

        Raises:
            ConfigurationError: if the database or its driver is not supported.
        """
        try:
            self._database = Database(engine_or_url, type(self).__name__)
        finally:
            del engine_or_url  # tracebacks can show locals, and it may have a password
        self._clock = clock or SystemClock()
        self._confirm = _HELD.values(
            handled=bindparam("now_handled"),
            token=None,
            updated_at=self._database.now(self._clock),
        )
        # A processor has one lease.
        self._claim_statements = lru_cache(maxsize=8)(self._build_claim)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the inbox, and its connections unless an engine was given."""
        await self._database.aclose()

    async def create_tables(self) -> None:
        """Create the table and its index if missing; safe in several processes at once.

        Raises:
            StoreUnavailableError: the database failed, or did not answer in time.
        """
        async with self._database.connect(writes=True) as connection:
            await _create(connection, CreateTable(callbacks, if_not_exists=True))
            for index in callbacks.indexes:
                await _create(connection, CreateIndex(index, if_not_exists=True))

    async def ping(self) -> None:
        """Check with one query that the database answers and has the table.

        Raises:
            StoreUnavailableError: the database failed, lacks the table, or did not
                answer in time.
        """
        async with self._database.connect() as connection:
            await execute_and_commit(connection, _PING, {})

    async def claim(
        self, key: str, kind: Kind, lease: timedelta = LEASE
    ) -> Claim | Taken:
        """Implement `InboxStore.claim`; the lease starts before the query is sent."""
        async with self._database.connect(writes=True) as connection:
            for _ in range(_TRIES):
                answer = await self._try_to_claim(connection, key, kind, lease)
                if answer is not None:
                    return answer
        return Taken.BUSY

    async def release(self, claim: Claim) -> None:
        """Implement `InboxStore.release`."""
        async with self._database.connect(writes=True) as connection:
            await execute_and_commit(connection, _RELEASE, _held(claim))

    async def confirm(
        self, claim: Claim, handled: Handled, connection: CallerConnection | None = None
    ) -> None:
        """Implement `InboxStore.confirm`.

        With `connection`, an ``AsyncConnection`` or ``AsyncSession``, it is recorded in
        its transaction, which you commit. A handler with an open transaction in the
        same SQLite database must pass its connection: otherwise this statement would
        wait for that transaction.
        """
        values = {**_held(claim), "now_handled": handled}
        if connection is None:
            async with self._database.connect(writes=True) as own:
                done = await execute_and_commit(own, self._confirm, values)
        else:
            caller = await require_connection(connection)
            done = await execute(caller, self._confirm, values)
        if done.rowcount != 1:
            raise lease_expired(claim)

    async def holds(self, claim: Claim) -> bool:
        """Implement `InboxStore.holds`."""
        async with self._database.connect() as connection:
            found = await execute_and_commit(connection, _HOLDS, _held(claim))
            return found.first() is not None

    async def prune(self, older_than: timedelta = REMEMBER) -> int:
        """Delete the rows that were not updated for `older_than`, nor are claimed now.

        Each transaction deletes 1,000 of them. A notification that is delivered again
        after that is handled again.

        Returns:
            The number of deleted rows.
        """
        age = min(older_than, _MAX_PERIOD)
        free = or_(
            _row.token.is_(None), _row.lease_until <= self._database.now(self._clock)
        )
        old = and_(_row.updated_at <= self._database.now(self._clock, -age), free)
        oldest = select(_row.key).where(old).order_by(_row.updated_at).limit(_BATCH)
        # The condition is repeated: a row may be claimed after it was selected.
        statement = delete(callbacks).where(_row.key.in_(oldest), old)
        pruned, deleted = 0, 1
        # Until none is left: a batch has fewer rows if another process deleted some.
        while deleted:
            async with self._database.connect(writes=True) as connection:
                deleted = (await execute_and_commit(connection, statement)).rowcount
            pruned += deleted
        return pruned

    def _build_claim(self, lease: timedelta) -> tuple[Insert, Select[Any], Update]:
        """Return the statements that insert, read and update the row of an order."""
        now = self._database.now(self._clock)
        mine: dict[str, Any] = {
            "token": bindparam("new_token"),
            "lease_until": self._database.now(self._clock, min(lease, _MAX_PERIOD)),
            "updated_at": now,
        }
        new = self._database.insert(callbacks).values(key=_KEY, **mine)
        unchanged = update(callbacks).where(
            _row.key == _KEY,
            _row.handled.is_not_distinct_from(bindparam("old_handled")),
            _row.token.is_not_distinct_from(bindparam("old_token")),
        )
        return (
            new.on_conflict_do_nothing(),
            select(callbacks, now.label("now")).where(_row.key == _KEY),
            unchanged.values(mine),
        )

    async def _try_to_claim(
        self, connection: AsyncConnection, key: str, kind: Kind, lease: timedelta
    ) -> Claim | Taken | None:
        """Try once; return ``None`` if another process updated the row meanwhile."""
        new, query, unchanged = self._claim_statements(lease)
        token = os.urandom(16).hex()
        values = {"row_key": key, "new_token": token}
        if (await execute_and_commit(connection, new, values)).rowcount == 1:
            return Claim(key=key, token=token, previous=None)
        found = await execute_and_commit(connection, query, {"row_key": key})
        if (row := found.one_or_none()) is None:
            return None
        handled = cast("Handled | None", row.handled)
        # If the clock was set back by hours, the lease must not end hours later.
        left, whole = row.lease_until - row.now, row.lease_until - row.updated_at
        busy = row.token is not None and timedelta(0) < left <= 2 * whole
        if rejection := claim_rejection(handled, kind, busy=busy):
            return rejection
        old = {"old_handled": handled, "old_token": row.token}
        done = await execute_and_commit(connection, unchanged, {**values, **old})
        if done.rowcount == 1:
            return Claim(key=key, token=token, previous=handled)
        return None


async def _create(connection: AsyncConnection, create: Executable) -> None:
    try:
        await execute_and_commit(connection, create)
    except StoreUnavailableError:
        # PostgreSQL raises if two processes create it at once: now the other one has
        # created it.
        await execute_and_commit(connection, create)


def _held(claim: Claim) -> dict[str, str]:
    return {"row_key": claim.key, "held_token": claim.token}
