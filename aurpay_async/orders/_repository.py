"""SQL of the order store, its locks, and the transitions of attempts.

Who changes something of a reference holds its row first: with ``FOR UPDATE`` on
PostgreSQL, with the write lock that SQLite has for all of a database. And every update
says what it expects to find, so that nothing is overwritten that was not seen.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast, final

import attrs
from sqlalchemy import and_, or_, select, update

from .._api.models import OrderStatus
from .._client.lost_orders import CLOCK_SKEW, LONGEST_ATTEMPT_S
from .._db.engine import execute, execute_and_commit, require_connection
from .._db.tables import attempts, references
from ..errors import OrderStoreError, UnknownOrderError, shown
from ._models import MAY_OWN_LISTED_ORDER, PAYABLE, REVOCABLE, Attempt, AttemptState
from ._planner import ReferenceRecord, next_poll

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy import ColumnElement, Row, Select, Update
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._client import AurpayClient
    from .._core.clock import Clock
    from .._db.engine import Database


_a: Final = attempts.c

_r: Final = references.c

#: The columns that change. `Attempt` has a member of each name; that of `order_json` is
#: private.
_COLUMNS: Final[Sequence[str]] = (
    "state",
    "order_id",
    "payment_hash",
    "failed_check",
    "hinted_order_id",
    "status",
    "order_json",
    "candidates",
    "sent_at",
    "last_polled_at",
    "next_poll_at",
    "payable_until",
)

#: Orders that were made around the same time may be taken for a lost one; these far
#: apart are not.
_NEAR: Final = timedelta(hours=1)

#: How long after the end of its call an attempt's order may be made, and listed.
_LATEST: Final = timedelta(seconds=LONGEST_ATTEMPT_S) + 2 * CLOCK_SKEW

#: Of nothing that was read, no time is known.
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class Moment(NamedTuple):
    """Attempts, and the time at which they were read."""

    now: datetime
    attempts: Sequence[Attempt]


class Neighbours(NamedTuple):
    """The other attempts of around the time of an attempt."""

    #: The orders of other attempts.
    order_ids: frozenset[str]
    #: Whether the order of another attempt, which is not known, may look the same.
    has_rival: bool
    #: The orders that callbacks named for other attempts.
    hinted: frozenset[str]


@final
class Rows:
    """The two tables, read and written."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # Before anything is read: what was read cannot be stale then.
        nothing = update(references).where(_r.reference.is_(None))
        hold = [nothing.values(price=_r.price)] if database.is_sqlite else []
        self._before_writing: Sequence[Update] = hold

    @property
    def _now(self) -> ColumnElement[datetime]:
        """The time, as a part of a statement."""
        return self._database.now(self._clock)

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
            yield await self._ready_to_write(await require_connection(caller))
            return
        async with self._database.begin() as connection:
            yield await self._ready_to_write(connection)

    async def _ready_to_write(self, connection: AsyncConnection) -> AsyncConnection:
        for statement in self._before_writing:
            await execute(connection, statement)
        return connection

    async def entry(
        self, connection: AsyncConnection, reference: str
    ) -> ReferenceRecord | None:
        """Return the record of a reference, with one query."""
        both = references.outerjoin(attempts)
        columns = [self._now.label("now"), *[c.label(f"a_{c.name}") for c in _a]]
        found = select(references, *columns).select_from(both)
        query = found.where(_r.reference == reference)
        newest_first = query.order_by(_a.created_at.desc(), _a.attempt_id)
        rows = (await execute(connection, newest_first)).all()
        if not rows:
            return None
        first = rows[0]
        return ReferenceRecord(
            now=first.now,
            reference=reference,
            price=Decimal(first.price),
            currency=first.currency,
            paid_attempt_id=first.paid_attempt_id,
            attempts=[_attempt(row) for row in rows if row.a_attempt_id is not None],
        )

    async def locked(
        self, connection: AsyncConnection, reference: str
    ) -> ReferenceRecord | None:
        """Lock a reference until this transaction ends; return its record."""
        await self.lock(connection, reference)
        return await self.entry(connection, reference)

    async def lock(self, connection: AsyncConnection, reference: str) -> None:
        """Wait until no other transaction changes what the store has of a reference."""
        hold = select(_r.reference).where(_r.reference == reference).with_for_update()
        await execute(connection, hold)

    async def begin(
        self, connection: AsyncConnection, reference: str, price: Decimal, currency: str
    ) -> None:
        """See that there is a row for a reference."""
        row = self._database.insert(references).values(
            reference=reference,
            price=f"{price:f}",
            currency=currency,
            created_at=self._now,
        )
        await execute(connection, row.on_conflict_do_nothing())

    async def add(self, connection: AsyncConnection, new: Attempt) -> None:
        """Write down an attempt."""
        row = attempts.insert().values(
            attempt_id=new.attempt_id,
            reference=new.reference,
            price=f"{new.price:f}",
            currency=new.currency,
            created_here=new.created_here,
            created_at=new.created_at,
            deadline=new.deadline,
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
            _a.attempt_id == before.attempt_id, _a.state == str(before.state)
        )
        if (await execute(connection, same.values(changed))).rowcount != 1:
            raise _moved(before)

    async def settle(self, connection: AsyncConnection, paid: Attempt) -> None:
        """This one's payment counts, and no other one's."""
        open_one = update(references).where(
            _r.reference == paid.reference, _r.paid_attempt_id.is_(None)
        )
        settled = await execute(
            connection, open_one.values(paid_attempt_id=paid.attempt_id)
        )
        if settled.rowcount != 1:
            raise _moved(paid)

    async def plan_poll(self, attempt: Attempt, at: datetime | None = None) -> bool:
        """Set when an attempt is polled next, unless it was changed meanwhile.

        Args:
            attempt: As it was read.
            at: When; ``None`` is now.

        Returns:
            Whether it was set.
        """
        same = update(attempts).where(
            _a.attempt_id == attempt.attempt_id,
            _a.next_poll_at.is_not_distinct_from(attempt.next_poll_at),
        )
        due = self._now if at is None else at
        async with self.reading() as connection:
            done = await execute_and_commit(connection, same.values(next_poll_at=due))
        return done.rowcount == 1

    async def is_taken(
        self, connection: AsyncConnection, order_id: str, attempt_id: str
    ) -> bool:
        """Return whether an order is that of another attempt."""
        other = select(_a.attempt_id).where(
            _a.order_id == order_id, _a.attempt_id != attempt_id
        )
        return (await execute(connection, other)).first() is not None

    async def is_seen(
        self, connection: AsyncConnection, payment_hash: str, attempt_id: str
    ) -> bool:
        """Return whether the invoice of another attempt has this payment hash."""
        same = _a.payment_hash == payment_hash
        other = select(_a.attempt_id).where(same, _a.attempt_id != attempt_id)
        return (await execute(connection, other)).first() is not None

    async def by_attempt_id(
        self, connection: AsyncConnection, attempt_id: str
    ) -> Attempt | None:
        """The attempt of that name."""
        return await self._one(connection, _a.attempt_id == attempt_id)

    async def by_order(
        self, connection: AsyncConnection, order_id: str
    ) -> Attempt | None:
        """Return the attempt that has this order."""
        return await self._one(connection, _a.order_id == order_id)

    async def find(self, attempt_id: str) -> Moment:
        """The attempt of that name, if there is one, and the time."""
        return await self._all(self._select(_a.attempt_id == attempt_id))

    async def due(self, limit: int) -> Moment:
        """Return the attempts to poll, the most urgent first.

        An attempt that a clock ahead of time has put off, or given up, is due as
        well: it was polled, or created, at a time that has not come yet.
        """
        now = self._now
        soon = self._database.now(self._clock, CLOCK_SKEW)
        ahead = and_(
            or_(_a.last_polled_at > soon, _a.created_at > soon),
            or_(_a.next_poll_at > soon, _a.next_poll_at.is_(None)),
            _a.state.in_([str(state) for state in REVOCABLE]),
            _a.created_here,
        )
        in_time = self._select(_a.next_poll_at <= now).order_by(
            _a.next_poll_at, _a.attempt_id
        )
        urgent = await self._all(in_time.limit(limit))
        put_off = (
            self._select(ahead)
            .order_by(_a.attempt_id)
            .limit(limit - len(urgent.attempts))
        )
        others = await self._all(put_off)
        return Moment(max(urgent.now, others.now), [*urgent.attempts, *others.attempts])

    async def of(self, reference: str) -> Sequence[Attempt]:
        """All attempts of a reference, the newest first."""
        query = self._select(_a.reference == reference)
        return (
            await self._all(query.order_by(_a.created_at.desc(), _a.attempt_id))
        ).attempts

    async def in_states(self, *states: AttemptState) -> Sequence[Attempt]:
        """All attempts in these states, the oldest first."""
        query = self._select(_a.state.in_([str(state) for state in states]))
        return (await self._all(query.order_by(_a.created_at, _a.attempt_id))).attempts

    async def needs_review(self) -> Sequence[Attempt]:
        """Return the attempts that may be paid and need a person's review."""
        clear = [str(s) for s in OrderStatus if s.is_paid is not None]
        watched = [str(state) for state in PAYABLE]
        claimed = _a.state == str(AttemptState.PAYMENT_REPORTED)
        puzzling = and_(_a.status.not_in(clear), _a.state.in_(watched))
        fitting = _a.state == str(AttemptState.CANDIDATES_FOUND)
        query = self._select(or_(claimed, puzzling, fitting))
        found = await self._all(query.order_by(_a.created_at, _a.attempt_id))
        return [
            attempt
            for attempt in found.attempts
            if attempt.state is not AttemptState.CANDIDATES_FOUND
            or any(
                status.is_paid is not False for status in attempt.candidates.values()
            )
        ]

    async def near(self, attempt: Attempt) -> Neighbours:
        """Return the other attempts of around the time of an attempt."""
        first, last = attempt.created_at - _NEAR, attempt.deadline + _NEAR
        names = ("order_id", "state", "price", "currency", "created_at", "deadline")
        query = select(*[_a[name] for name in names], _a.hinted_order_id).where(
            _a.created_at.between(first, last),
            _a.attempt_id != attempt.attempt_id,
        )
        async with self.reading() as connection:
            others = (await execute_and_commit(connection, query)).all()
        return Neighbours(
            frozenset(one.order_id for one in others if one.order_id is not None),
            any(_is_rival(one, attempt) for one in others),
            frozenset(
                one.hinted_order_id for one in others if one.hinted_order_id is not None
            ),
        )

    async def _one(
        self, connection: AsyncConnection, which: ColumnElement[bool]
    ) -> Attempt | None:
        row = (await execute(connection, self._select(which))).one_or_none()
        return None if row is None else _attempt(row)

    async def _all(self, query: Select[tuple[object, ...]]) -> Moment:
        async with self.reading() as connection:
            rows = (await execute_and_commit(connection, query)).all()
        now = rows[0].now if rows else _LONG_AGO
        return Moment(now, [_attempt(row) for row in rows])

    def _select(self, *which: ColumnElement[bool]) -> Select[tuple[object, ...]]:
        columns = [self._now.label("now"), *[c.label(f"a_{c.name}") for c in _a]]
        query = select(*columns).where(*which)
        return cast("Select[tuple[object, ...]]", query)


def _is_rival(other: Row[Any], attempt: Attempt) -> bool:
    """Return whether the order of another attempt may look like that of this one."""
    return (
        other.order_id is None
        and other.state in MAY_OWN_LISTED_ORDER
        and (Decimal(other.price), other.currency) == (attempt.price, attempt.currency)
        and other.created_at <= attempt.deadline + _LATEST
        and attempt.created_at <= other.deadline + _LATEST
    )


def _values(attempt: Attempt) -> dict[str, str | datetime | None]:
    """Return the columns that change, as they are stored."""
    values: dict[str, str | datetime | None] = {
        name: _plain(getattr(attempt, name))
        for name in _COLUMNS
        if name != "order_json"
    }
    return {**values, "order_json": attempt._order_json}  # noqa: SLF001 - stored as it is


def _plain(value: object) -> str | datetime | None:
    if value is None or value == {}:
        return None
    if isinstance(value, datetime):
        return value
    return str(value) if isinstance(value, str) else json.dumps(value)


def _attempt(row: Row[tuple[object, ...]]) -> Attempt:
    candidates = json.loads(row.a_candidates or "{}")
    return Attempt(
        reference=row.a_reference,
        price=Decimal(row.a_price),
        currency=row.a_currency,
        attempt_id=row.a_attempt_id,
        created_here=row.a_created_here,
        state=AttemptState(row.a_state),
        order_id=row.a_order_id,
        payment_hash=row.a_payment_hash,
        failed_check=row.a_failed_check,
        hinted_order_id=row.a_hinted_order_id,
        status=None if row.a_status is None else OrderStatus(row.a_status),
        candidates={name: OrderStatus(status) for name, status in candidates.items()},
        created_at=row.a_created_at,
        deadline=row.a_deadline,
        sent_at=row.a_sent_at,
        last_polled_at=row.a_last_polled_at,
        next_poll_at=row.a_next_poll_at,
        payable_until=row.a_payable_until,
        order_json=row.a_order_json,
    )


def _moved(attempt: Attempt) -> OrderStoreError:
    error = OrderStoreError(
        f"attempt {attempt.attempt_id} was changed by a transaction without a lock on "
        "its reference; try again",
        reference=attempt.reference,
    )
    error.retryable = True
    return error


#: What was learned is as various as the members of an attempt.
_evolve: Final = cast("Callable[..., Attempt]", attrs.evolve)


@attrs.frozen
class Repository:
    """Where the store is kept."""

    client: AurpayClient
    rows: Rows
    clock: Clock

    async def transition(
        self,
        connection: AsyncConnection,
        attempt: Attempt,
        wanted: tuple[AttemptState, ...],
        *,
        now: datetime,
        **learned: object,
    ) -> Attempt:
        """Put an attempt into the first of these states that it can be in.

        What was `learned` is written in any case. The caller holds its reference. The
        next poll is planned anew if the state changes, or the platform was asked.

        Returns:
            The attempt as it is now.
        """
        state = attempt.state.first_of(wanted)
        after = _evolve(attempt, state=state, **learned)
        due = next_poll(after, now)
        planned = (
            state is not attempt.state or due is None or "last_polled_at" in learned
        )
        if planned and "next_poll_at" not in learned:
            after = _evolve(after, next_poll_at=due)
        await self.rows.change(connection, attempt, after)
        return after

    async def lock_attempt(
        self, connection: AsyncConnection, attempt_id: str
    ) -> tuple[ReferenceRecord, Attempt]:
        """Lock the reference of an attempt; return both as they are now.

        Raises:
            UnknownOrderError: there is none.
        """
        seen = await self.rows.by_attempt_id(connection, attempt_id)
        entry = (
            None if seen is None else await self.rows.locked(connection, seen.reference)
        )
        attempt = None if entry is None else entry.find(attempt_id)
        if entry is None or attempt is None:
            raise UnknownOrderError(f"the store has no attempt {shown(attempt_id)}")
        return entry, attempt
