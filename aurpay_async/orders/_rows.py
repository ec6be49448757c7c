"""The two tables, row by row: the only place that speaks SQL.

Who changes something of a reference holds its row first: with ``FOR UPDATE`` on
PostgreSQL, with the write lock that SQLite has for all of a database. And every update
says what it expects to find, so that nothing is overwritten that was not seen.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, cast, final

from sqlalchemy import and_, or_, select, update

from .._lost import CLOCK_SKEW
from .._order_life import OrderStatus
from .._store._engine import connection_of, from_ms, to_ms
from .._store._steps import execute, run
from .._store._tables import attempts, references
from ..errors import OrderBookError
from ._decide import Entry
from ._records import Attempt
from ._states import REVOCABLE, WATCHED, AttemptState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy import ColumnElement, Row, Select, Update
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._store._engine import Database

_a: Final = attempts.c
_r: Final = references.c

#: The members of an `Attempt` that change, and their columns.
_COLUMNS: Final[Mapping[str, str]] = {
    "state": "state",
    "order_id": "order_id",
    "status": "status",
    "_kept": "kept",
    "suspects": "suspects",
    "sent_at": "sent",
    "looked_at": "looked",
    "next_look_at": "next_look",
    "ends_at": "ends",
}

#: Orders that were made around the same time may be taken for a lost one; these far
#: apart are not.
_NEAR: Final = timedelta(hours=1)


@final
class Rows:
    """What the book keeps."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Before anything is read: what was read cannot be stale then.
        nothing = update(references).where(_r.reference.is_(None))
        hold = [nothing.values(price=_r.price)] if database.is_sqlite else []
        self._before_writing: Sequence[Update] = hold

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """For ``async with``: each statement sees what is committed then."""
        return self._database.connect()

    @asynccontextmanager
    async def writing(
        self, caller: object = None
    ) -> AsyncGenerator[AsyncConnection, None]:
        """A transaction to write in: the caller's, who commits it, or one of our own.

        Raises:
            ConfigurationError: what the caller gives has no transaction.
        """
        if caller is not None:
            yield await self._ready_to_write(await connection_of(caller))
            return
        async with self._database.begin() as connection:
            yield await self._ready_to_write(connection)

    async def _ready_to_write(self, connection: AsyncConnection) -> AsyncConnection:
        for statement in self._before_writing:
            await execute(connection, statement)
        return connection

    async def entry(self, connection: AsyncConnection, reference: str) -> Entry | None:
        """What the book has of a reference, in one look."""
        both = references.outerjoin(attempts)
        found = select(references, *[c.label(f"a_{c.name}") for c in _a])
        query = found.select_from(both).where(_r.reference == reference)
        newest_first = query.order_by(_a.opened.desc(), _a.nonce)
        rows = (await execute(connection, newest_first)).all()
        if not rows:
            return None
        first = rows[0]
        return Entry(
            reference=reference,
            price=Decimal(first.price),
            currency=first.currency,
            settled_by=first.settled_by,
            attempts=[_attempt(row) for row in rows if row.a_nonce is not None],
        )

    async def locked(self, connection: AsyncConnection, reference: str) -> Entry | None:
        """The same, and nobody else changes it before this transaction ends."""
        hold = select(_r.reference).where(_r.reference == reference).with_for_update()
        await execute(connection, hold)
        return await self.entry(connection, reference)

    async def begin(self, connection: AsyncConnection, first: Attempt) -> None:
        """See that there is a row for the reference of this attempt."""
        row = self._database.insert(references).values(
            reference=first.reference,
            price=f"{first.price:f}",
            currency=first.currency,
            opened=to_ms(first.opened_at),
        )
        await execute(connection, row.on_conflict_do_nothing())

    async def add(self, connection: AsyncConnection, new: Attempt) -> None:
        """Write down an attempt."""
        row = attempts.insert().values(
            nonce=new.nonce,
            reference=new.reference,
            opened=to_ms(new.opened_at),
            deadline=to_ms(new.deadline),
            **_values(new),
        )
        await execute(connection, row)

    async def change(
        self, connection: AsyncConnection, before: Attempt, after: Attempt
    ) -> None:
        """Write what differs, if the attempt is still in the state that it was in."""
        seen, new = _values(before), _values(after)
        changed = {name: new[name] for name in new if new[name] != seen[name]}
        if not changed:
            return
        same = update(attempts).where(
            _a.nonce == before.nonce, _a.state == str(before.state)
        )
        if (await execute(connection, same.values(changed))).rowcount != 1:
            raise _moved(before)

    async def settle(self, connection: AsyncConnection, paid: Attempt) -> None:
        """This one's payment counts, and no other one's."""
        open_one = update(references).where(
            _r.reference == paid.reference, _r.settled_by.is_(None)
        )
        settled = await execute(connection, open_one.values(settled_by=paid.nonce))
        if settled.rowcount != 1:
            raise _moved(paid)

    async def postpone(self, attempt: Attempt, until: datetime | None) -> bool:
        """Put off the next look; whether nobody else has, since this was read."""
        same = update(attempts).where(
            _a.nonce == attempt.nonce,
            _a.next_look.is_not_distinct_from(_plain(attempt.next_look_at)),
        )
        async with self.reading() as connection:
            done = await run(connection, same.values(next_look=_plain(until)))
        return done.rowcount == 1

    async def is_taken(
        self, connection: AsyncConnection, order_id: str, nonce: str
    ) -> bool:
        """Whether an order is that of another attempt."""
        other = select(_a.nonce).where(_a.order_id == order_id, _a.nonce != nonce)
        return (await execute(connection, other)).first() is not None

    async def by_nonce(self, connection: AsyncConnection, nonce: str) -> Attempt | None:
        """The attempt of that name."""
        return await self._one(connection, _a.nonce == nonce)

    async def by_order(
        self, connection: AsyncConnection, order_id: str
    ) -> Attempt | None:
        """The attempt whose order this is."""
        return await self._one(connection, _a.order_id == order_id)

    async def due(self, now: datetime, limit: int) -> Sequence[Attempt]:
        """Whom to ask about, the most urgent first.

        Whatever a clock that was ahead has put off, or given up, is due as well: it was
        polled, or opened, at a time that has not come yet.
        """
        in_time = _select(_a.next_look <= to_ms(now))
        soon = to_ms(now + CLOCK_SKEW)
        ahead = and_(
            or_(_a.looked > soon, _a.opened > soon),
            or_(_a.next_look > soon, _a.next_look.is_(None)),
            _a.state.in_([str(state) for state in REVOCABLE]),
        )
        urgent = await self._all(in_time.order_by(_a.next_look, _a.nonce).limit(limit))
        put_off = _select(ahead).order_by(_a.nonce).limit(limit - len(urgent))
        return [*urgent, *await self._all(put_off)]

    async def of(self, reference: str) -> Sequence[Attempt]:
        """All attempts of a reference, the newest first."""
        query = _select(_a.reference == reference)
        return await self._all(query.order_by(_a.opened.desc(), _a.nonce))

    async def in_states(self, *states: AttemptState) -> Sequence[Attempt]:
        """All attempts in these states, the oldest first."""
        query = _select(_a.state.in_([str(state) for state in states]))
        return await self._all(query.order_by(_a.opened, _a.nonce))

    async def unclear(self) -> Sequence[Attempt]:
        """Those that there may be money in, without anybody knowing."""
        clear = [str(s) for s in OrderStatus if s.is_paid is not None]
        watched = [str(state) for state in WATCHED]
        claimed = _a.state == str(AttemptState.CLAIMED)
        puzzling = and_(_a.status.not_in(clear), _a.state.in_(watched))
        fitting = _a.state == str(AttemptState.FOUND)
        query = _select(or_(claimed, puzzling, fitting))
        return [
            attempt
            for attempt in await self._all(query.order_by(_a.opened, _a.nonce))
            if attempt.state is not AttemptState.FOUND
            or any(status.is_paid is not False for status in attempt.suspects.values())
        ]

    async def known_near(self, attempt: Attempt) -> frozenset[str]:
        """The orders of around that time that are another attempt's."""
        first, last = attempt.opened_at - _NEAR, attempt.deadline + _NEAR
        query = select(_a.order_id).where(
            _a.opened.between(to_ms(first), to_ms(last)),
            _a.order_id.is_not(None),
            _a.nonce != attempt.nonce,
        )
        async with self.reading() as connection:
            found = (await run(connection, query)).scalars()
            return frozenset(order_id for order_id in found if order_id is not None)

    async def _one(
        self, connection: AsyncConnection, which: ColumnElement[bool]
    ) -> Attempt | None:
        row = (await execute(connection, _select(which))).one_or_none()
        return None if row is None else _attempt(row)

    async def _all(self, query: Select[tuple[object, ...]]) -> Sequence[Attempt]:
        async with self.reading() as connection:
            return [_attempt(row) for row in await run(connection, query)]


def _select(which: ColumnElement[bool]) -> Select[tuple[object, ...]]:
    labelled = [column.label(f"a_{column.name}") for column in _a]
    query = select(_r.price, _r.currency, *labelled).join_from(attempts, references)
    return cast("Select[tuple[object, ...]]", query.where(which))


def _values(attempt: Attempt) -> dict[str, str | int | None]:
    """The columns that change, as they are kept."""
    return {
        column: _plain(getattr(attempt, member)) for member, column in _COLUMNS.items()
    }


def _plain(value: object) -> str | int | None:
    if value is None or value == {}:
        return None
    if isinstance(value, datetime):
        return to_ms(value)
    return str(value) if isinstance(value, str) else json.dumps(value)


def _attempt(row: Row[tuple[object, ...]]) -> Attempt:
    suspects = json.loads(row.a_suspects or "{}")
    return Attempt(
        reference=row.a_reference,
        price=Decimal(row.price),
        currency=row.currency,
        nonce=row.a_nonce,
        state=AttemptState(row.a_state),
        order_id=row.a_order_id,
        status=None if row.a_status is None else OrderStatus(row.a_status),
        suspects={name: OrderStatus(status) for name, status in suspects.items()},
        opened_at=from_ms(row.a_opened),
        deadline=from_ms(row.a_deadline),
        sent_at=_time(row.a_sent),
        looked_at=_time(row.a_looked),
        next_look_at=_time(row.a_next_look),
        ends_at=from_ms(row.a_ends),
        kept=row.a_kept,
    )


def _time(kept: int | None) -> datetime | None:
    return None if kept is None else from_ms(kept)


def _moved(attempt: Attempt) -> OrderBookError:
    error = OrderBookError(
        f"attempt {attempt.nonce} was changed by somebody who does not hold its "
        "reference; try again",
        reference=attempt.reference,
    )
    error.retryable = True
    return error
