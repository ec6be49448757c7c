"""One memory for many processes: a table in SQLite or PostgreSQL.

Every step of the inbox is one statement that commits by itself and changes a row only
if it is still as it was read, so the database lets one of several processes through.
No lock is held between two steps, and the engine's isolation level does not matter.

What a handler does can be recorded in the same transaction as that it was handled::

    async with engine.begin() as connection:
        await connection.execute(...)
        await inbox.confirm(claim, "paid", connection)

Then either both happened or neither, whenever the process dies. A handler that outlives
its lease cannot commit once another one has taken its place.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final, Self, cast, final

try:
    from sqlalchemy import delete, or_, select, update
    from sqlalchemy.schema import CreateTable
except ImportError as _error:
    raise ImportError(
        "SqlInbox needs SQLAlchemy: pip install 'aurpay-async[sql]'"
    ) from _error

from .._clock import SystemClock
from .._store._engine import Database, connection_of
from .._store._steps import execute, run
from .._store._tables import callbacks, inbox_metadata
from ..errors import StoreUnavailableError
from ._replay import (
    LEASE,
    REMEMBER,
    Claim,
    Taken,
    claim_rejection,
    lease_expired,
    new_token,
)

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Update
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from .._clock import Clock
    from ._replay import CallerConnection, Handled, Kind

__all__ = ["SqlInbox"]

_row: Final = callbacks.c

#: Each one that fails means that somebody else got further with this order meanwhile.
_TRIES: Final = 5

_MILLISECOND: Final = timedelta(milliseconds=1)


@final
class SqlInbox:
    """Remembers in a database, for as many processes as share it.

    Made from a URL, it has connections of its own: close it, or use it in ``async
    with``. Made from an engine, it leaves that open. Its connections belong to one
    event loop: a forked process, and a new loop after the old one was closed, get
    connections of their own.

    A failure of the database leaves as a `StoreUnavailableError`, as does a database
    that does not answer within seconds.

    On PostgreSQL, leases begin and end by the clock of the server, so the clocks of
    machines may differ. On SQLite, all processes are on one machine and share its
    clock.

    .. versionadded:: 0.1.0
    """

    #: Has the table ``aurpay_callbacks``; for Alembic's ``target_metadata``.
    #: (`OrderStore.metadata` has it as well.)
    metadata: ClassVar[MetaData] = inbox_metadata

    def __init__(
        self, engine_or_url: AsyncEngine | str, *, clock: Clock | None = None
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            engine_or_url: Such as ``sqlite+aiosqlite:///callbacks.db`` or
                ``postgresql+asyncpg://user:password@host/name``.
            clock: Replaces the clock of the machine, and of the server: for tests.

        Raises:
            ConfigurationError: if that is no database that can do this.
        """
        try:
            self._database = Database(engine_or_url, type(self).__name__)
        finally:
            del engine_or_url  # tracebacks show local names, and it may hold a password
        self._clock = SystemClock() if clock is None else clock

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End it, and its connections if they are its own."""
        await self._database.aclose()

    async def create_tables(self) -> None:
        """Make the table where it is missing; any number of processes may, at once."""
        create = CreateTable(callbacks, if_not_exists=True)
        async with self._database.connect() as connection:
            try:
                await run(connection, create)
            except StoreUnavailableError:
                # PostgreSQL says so to one of two that create it at the same moment;
                # by then it is there.
                await run(connection, create)

    async def claim(
        self, key: str, kind: Kind, lease: timedelta = LEASE
    ) -> Claim | Taken:
        """As `InboxStore.claim`; the lease counts from when it was asked for."""
        async with self._database.connect() as connection:
            for _ in range(_TRIES):
                answer = await self._try_to_claim(connection, key, kind, lease)
                if answer is not None:
                    return answer
        return Taken.BUSY

    async def release(self, claim: Claim) -> None:
        """As `InboxStore.release`."""
        async with self._database.connect() as connection:
            await run(connection, _held(claim).values(token=None))

    async def confirm(
        self, claim: Claim, handled: Handled, connection: CallerConnection | None = None
    ) -> None:
        """As `InboxStore.confirm`.

        With `connection`, an ``AsyncConnection`` or ``AsyncSession``, it is recorded in
        that one's transaction and stands or falls with it: you commit. A handler that
        has an open transaction in the same SQLite must give it: without, this would
        wait for that one to end.
        """
        now = self._database.now_ms(self._clock)
        ended = _held(claim).values(handled=handled, token=None, touched=now)
        if connection is None:
            async with self._database.connect() as own:
                done = await run(own, ended)
        else:
            done = await execute(await connection_of(connection), ended)
        if done.rowcount != 1:
            raise lease_expired(claim)

    async def holds(self, claim: Claim) -> bool:
        """As `InboxStore.holds`."""
        mine = select(_row.key).where(_row.key == claim.key, _row.token == claim.token)
        async with self._database.connect() as connection:
            return (await run(connection, mine)).first() is not None

    async def prune(self, older_than: timedelta = REMEMBER) -> int:
        """Forget the orders that nobody has touched for so long, nor handles now.

        A notification that comes again after that is handled again.

        Returns:
            How many were forgotten.
        """
        now = self._database.now_ms(self._clock)
        forgotten = delete(callbacks).where(
            _row.touched <= now - older_than // _MILLISECOND,
            or_(_row.token.is_(None), _row.lease_until <= now),
        )
        async with self._database.connect() as connection:
            return (await run(connection, forgotten)).rowcount

    async def _try_to_claim(
        self, connection: AsyncConnection, key: str, kind: Kind, lease: timedelta
    ) -> Claim | Taken | None:
        """Return ``None`` if the row was changed between two steps: try again."""
        now, token = self._database.now_ms(self._clock), new_token()
        until = now + lease // _MILLISECOND
        mine = {"token": token, "lease_until": until, "touched": now}
        new = self._database.insert(callbacks).values(key=key, **mine)
        if (await run(connection, new.on_conflict_do_nothing())).rowcount == 1:
            return Claim(key=key, token=token, previous=None)
        look = select(callbacks, now.label("now")).where(_row.key == key)
        seen = (await run(connection, look)).one_or_none()
        if seen is None:
            return None
        handled = cast("Handled | None", seen.handled)
        # A clock that was set back by hours must not make a lease longer by hours.
        left, whole = seen.lease_until - seen.now, seen.lease_until - seen.touched
        busy = seen.token is not None and 0 < left <= 2 * whole
        taken = claim_rejection(handled, kind, busy=busy)
        if taken is not None:
            return taken
        unchanged = update(callbacks).where(
            _row.key == key,
            _row.handled.is_not_distinct_from(handled),
            _row.token.is_not_distinct_from(seen.token),
        )
        if (await run(connection, unchanged.values(mine))).rowcount == 1:
            return Claim(key=key, token=token, previous=handled)
        return None


def _held(claim: Claim) -> Update:
    """The row of a claim, if that claim still holds it."""
    return update(callbacks).where(_row.key == claim.key, _row.token == claim.token)
