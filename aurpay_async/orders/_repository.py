"""SQL of the order store, its locks, and the transitions of attempts.

A transaction locks the row of a reference before it changes its attempts: with ``FOR
UPDATE`` on PostgreSQL, with the write lock of the whole database on SQLite. In addition
each update names the state that it expects (optimistic locking), so that no change of
another transaction is overwritten unseen.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast, final

import attrs
from sqlalchemy import and_, delete, func, not_, or_, select, update

from .._api.models import OrderStatus
from .._client.lost_orders import CLOCK_SKEW, LONGEST_ATTEMPT_S
from .._core.metrics import OrderCounts, OrderGauges
from .._db.engine import execute, execute_and_commit, require_connection
from .._db.tables import attempts, references
from ..errors import OrderStoreError, UnknownOrderError, shown
from ._models import (
    MAY_OWN_LISTED_ORDER,
    REVOCABLE,
    Attempt,
    AttemptState,
    Attention,
    attention_for,
)
from ._planner import DONE, ReferenceRecord, next_poll

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy import ColumnElement, Row, ScalarSelect, Select, Update
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._client import AurpayClient
    from .._core.clock import Clock
    from .._db.engine import Database


_a: Final = attempts.c

_r: Final = references.c

#: The columns that change. `Attempt` has a field of each name; `order_json` is private.
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

#: Attempts within this distance may have created the order that a search finds.
_NEAR: Final = timedelta(hours=1)

#: The longest delay between the end of a call and the creation time that Aurpay lists.
_LATEST: Final = timedelta(seconds=LONGEST_ATTEMPT_S) + 2 * CLOCK_SKEW

#: References that `prune` deletes in one transaction: callbacks wait for milliseconds.
_BATCH: Final = 500

#: The highest count: to count takes time, and so many need an alert anyway.
_MAX_COUNT: Final = 10_000

#: The states that `count_open` counts; the number of other attempts only grows.
_OPEN: Final = tuple(state for state in AttemptState if state not in DONE)

#: The time of a query without rows.
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class Snapshot(NamedTuple):
    """Attempts, and the database's time when they were read."""

    now: datetime
    attempts: Sequence[Attempt]


class Neighbours(NamedTuple):
    """The other attempts around the time of an attempt."""

    #: The ids of their orders.
    order_ids: frozenset[str]
    #: True if one without a known order may have created an order that looks the same.
    has_rival: bool
    #: The order ids in the bodies of callbacks for them.
    hinted: frozenset[str]


class Backlog(NamedTuple):
    """Due polls, and attempts that need a review."""

    #: How long the most overdue poll has been due.
    lag: timedelta
    #: Counted up to `_MAX_COUNT`, like the next one.
    due: int
    needs_review: int


@final
class Rows:
    """Queries and updates of the two tables."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # SQLite takes the write lock at the first write. So a transaction begins with
        # one that changes no row, and its reads cannot become stale.
        nothing = update(references).where(_r.reference == "")
        hold = [nothing.values(price=_r.price)] if database.is_sqlite else []
        self._before_writing: Sequence[Update] = hold

    @property
    def _now(self) -> ColumnElement[datetime]:
        """The time, as an SQL expression."""
        return self._database.now(self._clock)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a connection on which each statement sees the latest commits."""
        return self._database.connect()

    @asynccontextmanager
    async def writing(
        self, caller: object = None
    ) -> AsyncGenerator[AsyncConnection, None]:
        """Use the caller's transaction, which the caller commits, or open a new one.

        Raises:
            ConfigurationError: `caller` has no transaction.
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

    async def lock(self, connection: AsyncConnection, reference: str) -> bool:
        """Wait for the row lock of a reference, and hold it in this transaction.

        Returns:
            False if there is no such row.
        """
        hold = select(_r.reference).where(_r.reference == reference).with_for_update()
        return (await execute(connection, hold)).first() is not None

    async def begin(
        self, connection: AsyncConnection, reference: str, price: Decimal, currency: str
    ) -> None:
        """Insert the row of a reference unless it exists, and lock it."""
        row = self._database.insert(references).values(
            reference=reference,
            price=f"{price:f}",
            currency=currency,
            created_at=self._now,
        )
        await execute(connection, row.on_conflict_do_nothing())
        while not await self.lock(connection, reference):
            # The row existed, and `prune` has deleted it before it was locked.
            await execute(connection, row.on_conflict_do_nothing())

    async def add(self, connection: AsyncConnection, new: Attempt) -> None:
        """Insert an attempt."""
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
        """Update the changed columns.

        Raises:
            OrderStoreError: the attempt is not in the state of `before` any more.
        """
        old, new = _values(before), _values(after)
        changed = {name: new[name] for name in new if new[name] != old[name]}
        if not changed:
            return
        same = update(attempts).where(
            _a.attempt_id == before.attempt_id, _a.state == str(before.state)
        )
        if (await execute(connection, same.values(changed))).rowcount != 1:
            raise _conflict(before)

    async def set_paid_attempt(
        self, connection: AsyncConnection, paid: Attempt
    ) -> None:
        """Record that the payment of this attempt pays its reference.

        Raises:
            OrderStoreError: another attempt has paid the reference.
        """
        unpaid = update(references).where(
            _r.reference == paid.reference, _r.paid_attempt_id.is_(None)
        )
        updated = await execute(
            connection, unpaid.values(paid_attempt_id=paid.attempt_id)
        )
        if updated.rowcount != 1:
            raise _conflict(paid)

    async def plan_poll(self, attempt: Attempt, at: datetime | None = None) -> bool:
        """Set the time of an attempt's next poll, unless it was changed meanwhile.

        Args:
            attempt: The attempt as it was read.
            at: The time; ``None`` is now.

        Returns:
            True if the time was set.
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
        """Return true if an order belongs to another attempt."""
        other = select(_a.attempt_id).where(
            _a.order_id == order_id, _a.attempt_id != attempt_id
        )
        return (await execute(connection, other)).first() is not None

    async def is_hash_used(
        self, connection: AsyncConnection, payment_hash: str, attempt_id: str
    ) -> bool:
        """Return true if the invoice of another attempt has this payment hash."""
        same = _a.payment_hash == payment_hash
        other = select(_a.attempt_id).where(same, _a.attempt_id != attempt_id)
        return (await execute(connection, other)).first() is not None

    async def by_attempt_id(
        self, connection: AsyncConnection, attempt_id: str
    ) -> Attempt | None:
        """Return the attempt with this id."""
        return await self._one(connection, _a.attempt_id == attempt_id)

    async def by_order(
        self, connection: AsyncConnection, order_id: str
    ) -> Attempt | None:
        """Return the attempt that has this order."""
        return await self._one(connection, _a.order_id == order_id)

    async def find(self, attempt_id: str) -> Snapshot:
        """Return the attempt with this id, if there is one, and the time."""
        return await self._all(self._select(_a.attempt_id == attempt_id))

    async def due(self, limit: int) -> Snapshot:
        """Return the attempts to poll, the most urgent first.

        If a clock that was ahead has delayed or ended the polls of an attempt, it is
        due as well: it was polled, or created, at a time in the future.
        """
        now = self._now
        soon = self._database.now(self._clock, CLOCK_SKEW)
        ahead = and_(
            or_(_a.last_polled_at > soon, _a.created_at > soon),
            or_(_a.next_poll_at > soon, _a.next_poll_at.is_(None)),
            _a.state.in_([str(state) for state in REVOCABLE]),
            _a.created_here,
        )
        scheduled = self._select(_a.next_poll_at <= now).order_by(
            _a.next_poll_at, _a.attempt_id
        )
        urgent = await self._all(scheduled.limit(limit))
        # Without an order: for one, SQLite would read the whole table in that order.
        delayed = self._select(ahead).limit(limit - len(urgent.attempts))
        others = await self._all(delayed)
        return Snapshot(
            max(urgent.now, others.now), [*urgent.attempts, *others.attempts]
        )

    async def count_open(self) -> OrderCounts:
        """Count the orders that are open or need a person, each to `_MAX_COUNT`."""
        found = {str(state): _a.state == str(state) for state in _OPEN}
        found |= {str(task): _a.attention == str(task) for task in Attention}
        columns = [_count(which).label(name) for name, which in found.items()]
        query = select(*columns, _first_poll().label("next"), self._now.label("now"))
        async with self.reading() as connection:
            row = (await execute_and_commit(connection, query)).mappings().one()
        return OrderCounts(
            orders={str(state): row[str(state)] for state in _OPEN},
            needs_review=row[str(Attention.REVIEW)],
            duplicates=row[str(Attention.REFUND)],
            lag_s=_lag(row["next"], row["now"]).total_seconds(),
        )

    async def of(self, reference: str) -> Sequence[Attempt]:
        """Return all attempts of a reference, newest first."""
        query = self._select(_a.reference == reference)
        return (
            await self._all(query.order_by(_a.created_at.desc(), _a.attempt_id))
        ).attempts

    async def newest(self, state: AttemptState | None, limit: int) -> Sequence[Attempt]:
        """Return the newest attempts, of one state if it is given."""
        query = self._select(*[] if state is None else [_a.state == str(state)])
        newest_first = query.order_by(_a.created_at.desc(), _a.attempt_id.desc())
        return (await self._all(newest_first.limit(limit))).attempts

    async def needing(self, attention: Attention, limit: int) -> Sequence[Attempt]:
        """Return the attempts that need a person, oldest first."""
        query = self._select(_a.attention == str(attention))
        oldest_first = query.order_by(_a.created_at, _a.attempt_id)
        return (await self._all(oldest_first.limit(limit))).attempts

    async def backlog(self) -> Backlog:
        """Return the state of the queue of polls, with one query of two indexes."""
        query = select(
            self._now.label("now"),
            _first_poll().label("first"),
            _count(_a.next_poll_at <= self._now).label("due"),
            _count(_a.attention == str(Attention.REVIEW)).label("review"),
        )
        async with self.reading() as connection:
            row = (await execute_and_commit(connection, query)).one()
        return Backlog(_lag(row.first, row.now), row.due, row.review)

    async def prune(self, older_than: timedelta, *, paid: bool) -> int:
        """Delete the references that are paid, or those that are not, and are old.

        A reference is deleted with its attempts, if the last payment of each would have
        arrived `older_than` ago, and none is open or needs a person.

        Returns:
            The number of deleted references.
        """
        end = self._database.now(self._clock, -older_than)
        is_settled = and_(
            _a.state.in_([str(state) for state in DONE]),
            _a.attention.is_(None),
            _a.next_poll_at.is_(None),
            _a.payable_until <= end,
        )
        unsettled = select(_a.reference).where(not_(is_settled))
        payer = _r.paid_attempt_id
        old = select(_r.reference).where(
            payer.is_not(None) if paid else payer.is_(None),
            _r.created_at <= end,
            ~unsettled.where(_a.reference == _r.reference).exists(),
        )
        oldest = old.order_by(_r.created_at).limit(_BATCH)
        pruned, is_full = 0, True
        while is_full:
            deleted = await self._prune_batch(oldest, unsettled)
            pruned += deleted
            is_full = deleted == _BATCH
        return pruned

    async def _prune_batch(
        self, oldest: Select[tuple[str]], unsettled: Select[tuple[str]]
    ) -> int:
        async with self.writing() as connection:
            locking = oldest.with_for_update(skip_locked=True)
            found = {*(await execute(connection, locking)).scalars()}
            # The locking statement does not see the attempts that other transactions
            # have inserted while it was running; the next statement does.
            again = unsettled.where(_a.reference.in_(found))
            found -= {*(await execute(connection, again)).scalars()}
            for table in (attempts, references):
                chosen = table.c.reference.in_(found)
                await execute(connection, delete(table).where(chosen))
        return len(found)

    async def near(self, attempt: Attempt) -> Neighbours:
        """Return the other attempts around the time of an attempt."""
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

    async def _all(self, query: Select[tuple[object, ...]]) -> Snapshot:
        async with self.reading() as connection:
            rows = (await execute_and_commit(connection, query)).all()
        now = rows[0].now if rows else _LONG_AGO
        return Snapshot(now, [_attempt(row) for row in rows])

    def _select(self, *which: ColumnElement[bool]) -> Select[tuple[object, ...]]:
        columns = [self._now.label("now"), *[c.label(f"a_{c.name}") for c in _a]]
        query = select(*columns).where(*which)
        return cast("Select[tuple[object, ...]]", query)


def _count(which: ColumnElement[bool]) -> ScalarSelect[int]:
    few = select(_a.attempt_id).where(which).limit(_MAX_COUNT).subquery()
    return select(func.count()).select_from(few).scalar_subquery()


def _first_poll() -> ScalarSelect[datetime]:
    return select(func.min(_a.next_poll_at)).scalar_subquery()


def _lag(next_poll_at: datetime | None, now: datetime) -> timedelta:
    """Return how long the first of all planned polls has been due."""
    return max(now - (next_poll_at or now), timedelta(0))


def _is_rival(other: Row[Any], attempt: Attempt) -> bool:
    """Return true if the order of another attempt may look like that of this one."""
    return (
        other.order_id is None
        and other.state in MAY_OWN_LISTED_ORDER
        and (Decimal(other.price), other.currency) == (attempt.price, attempt.currency)
        and other.created_at <= attempt.deadline + _LATEST
        and attempt.created_at <= other.deadline + _LATEST
    )


def _values(attempt: Attempt) -> dict[str, str | datetime | None]:
    """Return the stored values of the columns that change."""
    values: dict[str, str | datetime | None] = {
        name: _to_column(getattr(attempt, name))
        for name in _COLUMNS
        if name != "order_json"
    }
    values["attention"] = _to_column(attention_for(attempt))
    return {**values, "order_json": attempt._order_json}  # noqa: SLF001 - stored unchanged


def _to_column(value: object) -> str | datetime | None:
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


def _conflict(attempt: Attempt) -> OrderStoreError:
    error = OrderStoreError(
        f"attempt {attempt.attempt_id} was changed by a transaction without a lock on "
        "its reference; try again",
        reference=attempt.reference,
    )
    error.retryable = True
    return error


#: The values have the types of all fields of `Attempt`, so they cannot be checked.
_evolve: Final = cast("Callable[..., Attempt]", attrs.evolve)


@attrs.frozen
class Repository:
    """Client, tables and clock of an order store, and the transition of an attempt."""

    client: AurpayClient
    rows: Rows
    clock: Clock
    gauges: OrderGauges = attrs.field(init=False)

    @gauges.default
    def _gauges(self) -> OrderGauges:
        return OrderGauges(self.clock)

    async def transition(
        self,
        connection: AsyncConnection,
        attempt: Attempt,
        targets: tuple[AttemptState, ...],
        *,
        now: datetime,
        **fields: object,
    ) -> Attempt:
        """Change an attempt's state to the first target that the table allows.

        The `fields` are written in any case. The caller holds the lock of the
        reference. The next poll is scheduled again if the state changes or Aurpay was
        queried.

        Returns:
            The attempt after the change.
        """
        state = attempt.state.first_of(targets)
        after = _evolve(attempt, state=state, **fields)
        due = next_poll(after, now)
        is_rescheduled = (
            state is not attempt.state or due is None or "last_polled_at" in fields
        )
        if is_rescheduled and "next_poll_at" not in fields:
            after = _evolve(after, next_poll_at=due)
        await self.rows.change(connection, attempt, after)
        return after

    async def lock_attempt(
        self, connection: AsyncConnection, attempt_id: str
    ) -> tuple[ReferenceRecord, Attempt]:
        """Lock the reference of an attempt; return its record and the attempt.

        Raises:
            UnknownOrderError: the store has no such attempt.
        """
        seen = await self.rows.by_attempt_id(connection, attempt_id)
        entry = (
            None if seen is None else await self.rows.locked(connection, seen.reference)
        )
        attempt = None if entry is None else entry.find(attempt_id)
        if entry is None or attempt is None:
            raise UnknownOrderError(f"the store has no attempt {shown(attempt_id)}")
        return entry, attempt
