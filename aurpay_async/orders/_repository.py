"""SQL of the order store, its locks, and the transitions of attempts.

A transaction locks the row of a reference before it changes its attempts: with ``FOR
UPDATE`` on PostgreSQL, with the write lock of the whole database on SQLite. In addition
each update names the state that it expects (optimistic locking), so that no change of
another transaction is overwritten unseen.

On PostgreSQL the lock, and the read under it, are two statements: a statement that had
to wait for a lock does not see the rows that were inserted meanwhile.
"""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast, final

import attrs
from sqlalchemy import (
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)

from .._api.models import OrderStatus
from .._client.lost_orders import CLOCK_SKEW, LONGEST_ATTEMPT_S
from .._core.events import log_fields
from .._core.metrics import OrderCounts, OrderGauges
from .._db.engine import (
    UtcDateTime,
    execute,
    execute_and_commit,
    require_connection,
)
from .._db.tables import attempts, references
from ..errors import OrderStoreError, UnknownOrderError, shown
from ._models import (
    MAY_OWN_LISTED_ORDER,
    MOVES,
    REVOCABLE,
    Attempt,
    AttemptState,
    Attention,
    Change,
    log_fields_of,
)
from ._planner import DONE, ReferenceRecord, attention_for, due_since, next_poll

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Executable, Label, Row, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._client import AurpayClient
    from .._core.clock import Clock
    from .._db.engine import Database

_a: Final = attempts.c

_r: Final = references.c

#: States in which an attempt created none of the orders that a search finds.
_OWNS_NO_LISTED_ORDER: Final = frozenset(AttemptState) - {*MAY_OWN_LISTED_ORDER}

#: Attempts within this distance may have created the order that a search finds.
_NEAR: Final = timedelta(hours=1)

#: The longest delay between the end of a call and the creation time that Aurpay lists.
_LATEST: Final = timedelta(seconds=LONGEST_ATTEMPT_S) + 2 * CLOCK_SKEW

#: The highest count: to count takes time, and so many need an alert anyway.
_MAX_COUNT: Final = 10_000

#: The number of due attempts of which the most overdue one is found.
_MAX_OVERDUE: Final = 100

#: The time of a query without rows.
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

#: The states that `count_open` counts; the number of other attempts only grows.
_OPEN: Final = tuple(state for state in AttemptState if state not in DONE)

#: References that `prune` deletes in one transaction: callbacks wait for milliseconds.
BATCH: Final = 500

_log: Final = logging.getLogger("aurpay_async.orders")

_REVIEW: Final = (
    "a payment may have arrived and needs a person's review: `aurpay store review` "
    "lists it"
)

# Frequent statements are built once: that takes longer than executing one on SQLite.
# The parameters of an UPDATE have other names than the columns, because it takes the
# columns to write from its parameters.

_KEY: Final = bindparam("row_key", type_=Text)
_EXPECTED: Final = bindparam("expected_state", type_=Text)
_PLANNED: Final = bindparam("planned_poll_at", type_=UtcDateTime)

#: The columns of an attempt in a SELECT that may read those of a reference as well.
_LABELED: Final = [column.label(f"a_{column.name}") for column in _a]

_NEWEST_FIRST: Final = (_a.created_at.desc(), _a.attempt_id.desc())

By = Literal["reference", "attempt_id", "order_id"]

_other: Final = attempts.alias("other").c


def _reference_with(column: ColumnElement[str]) -> ColumnElement[str]:
    return select(_other.reference).where(column == _KEY).scalar_subquery()


_REFERENCES: Final[Mapping[By, ColumnElement[str]]] = {
    "reference": _KEY,
    "attempt_id": _reference_with(_other.attempt_id),
    "order_id": _reference_with(_other.order_id),
}

_LOCKS: Final = {
    by: select(_r.reference).where(_r.reference == reference).with_for_update()
    for by, reference in _REFERENCES.items()
}

#: The attempts that an order and a payment hash belong to; both are unique.
_OWNERS: Final = [
    select(_other.attempt_id)
    .where(_other[name] == bindparam(name, type_=Text))
    .scalar_subquery()
    .label(f"owner_of_{name}")
    for name in ("order_id", "payment_hash")
]

INSERT: Final = insert(attempts)

_UPDATE: Final = update(attempts).where(_a.attempt_id == _KEY, _a.state == _EXPECTED)

_SET_PAID: Final = (
    update(references)
    .where(_r.reference == _KEY, _r.paid_attempt_id.is_(None))
    .values(paid_attempt_id=bindparam("paid_by"))
)

#: SQLite takes the write lock at the first write. So a transaction that would begin
#: with a read begins with one that changes no row, and its reads cannot become stale.
_HOLD: Final = update(references).where(_r.reference == "").values(price=_r.price)


def _count(name: str, which: ColumnElement[bool]) -> Label[int]:
    few = select(_a.attempt_id).where(which).limit(_MAX_COUNT).subquery()
    return select(func.count()).select_from(few).scalar_subquery().label(name)


class Key(NamedTuple):
    """A reference by its own name, or by an attempt or an order that it has."""

    value: str
    by: By = "attempt_id"
    #: An order, and a payment hash, to find the owners of: see `ReferenceRecord`.
    order_id: str | None = None
    payment_hash: str | None = None


class Snapshot(NamedTuple):
    """Attempts, and the database's time when they were read."""

    now: datetime
    attempts: Sequence[Attempt]
    #: The errors of rows that cannot be read, by attempt id: see `_read_attempt`.
    damaged: Mapping[str, OrderStoreError]

    def readable(self) -> Sequence[Attempt]:
        """Return the attempts; raise the error of one that cannot be read."""
        for error in self.damaged.values():
            raise error
        return self.attempts


class Neighbours(NamedTuple):
    """The other attempts around the time of an attempt."""

    #: The ids of their orders.
    order_ids: frozenset[str]
    #: True if one without a known order may have created an order that looks the same.
    has_rival: bool
    #: The order ids in the bodies of callbacks for them.
    hinted: frozenset[str]


#: The fields of `Attempt`, which are columns as well.
_FIELDS: Final = [field.alias or field.name for field in attrs.fields(Attempt)]

#: The columns that are converted, and the values in place of those that are damaged.
_SUBSTITUTES: Final[Mapping[str, object]] = {
    "price": Decimal(0),
    "state": AttemptState.UNKNOWN,
    "candidates": {},
}


def row_of(attempt: Attempt) -> dict[str, object]:
    """Return the row of an attempt: for each field, and what a person has to do."""
    row = attrs.asdict(attempt, recurse=False)
    row["order_json"] = row.pop("_order_json")
    row["price"] = f"{attempt.price:f}"
    row["candidates"] = json.dumps(attempt.candidates) if attempt.candidates else None
    row["attention"] = attention_for(attempt)
    # Drivers choose the type of a column by the exact type of its value.
    return {name: str(v) if isinstance(v, str) else v for name, v in row.items()}


def _read_value(column: str, value: str | None) -> object:
    """Convert the value of a column; return ``None`` if other code has damaged it."""
    try:
        if column == "state":
            return AttemptState(value or "")
        if column == "price":
            price = Decimal(value or "")
            return price if price.is_finite() else None
        found = json.loads(value or "{}")
        return {order_id: OrderStatus(status) for order_id, status in found.items()}
    # JSON of another shape raises others than ValueError and ArithmeticError.
    except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError):
        return None


def _read_attempt(row: Row[Any]) -> tuple[Attempt, OrderStoreError | None]:
    """Return the attempt of a row that `row_of` returned.

    If the row is damaged, return an error as well: then the attempt is no more than the
    name of the row.
    """
    fields: dict[str, Any] = {name: getattr(row, f"a_{name}") for name in _FIELDS}
    if fields["status"] is not None:
        fields["status"] = OrderStatus(fields["status"])
    damaged: list[str] = []
    for name, substitute in _SUBSTITUTES.items():
        value = _read_value(name, fields[name])
        if value is None:
            damaged.append(name)
        fields[name] = substitute if value is None else value
    attempt = Attempt(**fields)
    return attempt, _damaged_row(attempt, damaged) if damaged else None


def _damaged_row(of: Attempt | str, columns: Sequence[str]) -> OrderStoreError:
    """Return the error of a damaged row of an attempt, or of a reference."""
    reference, row = (
        (of, "aurpay_references")
        if isinstance(of, str)
        else (
            of.reference,
            f"attempt {shown(of.attempt_id)} in aurpay_attempts",
        )
    )
    error = OrderStoreError(
        f"the row of {row}, of reference {shown(reference)}, cannot be read: other "
        f"code has changed its {' and '.join(columns)}",
        reference=reference,
    )
    error.advice = "write the values of a backup into the row"
    return error


def _attempt_of(row: Row[Any]) -> Attempt:
    """Return the attempt of a row; raise the error of a damaged one."""
    attempt, error = _read_attempt(row)
    if error is not None:
        raise error
    return attempt


def _price_of(row: Row[Any]) -> Decimal:
    """Return the price of a reference; raise the error of a damaged one."""
    price = _read_value("price", row.price)
    if not isinstance(price, Decimal):
        raise _damaged_row(row.reference, ["price"])
    return price


@final
class Rows:
    """Queries and updates of the two tables."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self._clock = clock
        self._now = now = database.now(clock)
        #: Only a clock that is ahead has reached this time.
        self._soon = database.now(clock, CLOCK_SKEW)
        entry = select(references, now.label("now"), *_LABELED, *_OWNERS)
        entry = entry.select_from(references.outerjoin(attempts))
        #: The row of a reference, and its attempts.
        self._entries = {
            by: entry.where(_r.reference == reference).order_by(*_NEWEST_FIRST)
            for by, reference in _REFERENCES.items()
        }
        self._attempts = select(now.label("now"), *_LABELED)
        #: The row of a reference, unless it exists.
        new = database.insert(references).values(created_at=now)
        self._insert_reference = new.on_conflict_do_nothing()
        is_planned = _a.next_poll_at.is_not_distinct_from(_PLANNED)
        due_at = func.coalesce(bindparam("due_at", type_=UtcDateTime), now)
        planned = update(attempts).where(_a.attempt_id == _KEY, is_planned)
        self._plan_poll = planned.values(next_poll_at=due_at)

    @asynccontextmanager
    async def writing(
        self, caller: object = None
    ) -> AsyncGenerator[AsyncConnection, None]:
        """Use the caller's transaction, which the caller commits, or open a new one."""
        if caller is not None:
            yield await require_connection(caller)
            return
        async with self.database.begin() as connection:
            yield connection

    async def entry(
        self, connection: AsyncConnection, key: Key, *, lock: bool = False
    ) -> ReferenceRecord | None:
        """Return the record of a reference, or ``None`` if there is none.

        With `lock`, wait for the row lock of the reference first, and hold it until the
        transaction ends. SQLite locks all rows.
        """
        if lock:
            is_file, row = self.database.is_sqlite, {"row_key": key.value}
            locking, bound = (_HOLD, {}) if is_file else (_LOCKS[key.by], row)
            locked = await execute(connection, locking, bound)
            if not is_file and locked.first() is None:
                return None
        values = {
            "row_key": key.value,
            "order_id": key.order_id,
            "payment_hash": key.payment_hash,
        }
        read_at = self._clock.monotonic()
        rows = (await execute(connection, self._entries[key.by], values)).all()
        if not rows:
            return None
        first = rows[0]
        return ReferenceRecord(
            now=first.now,
            read_at=read_at,
            reference=first.reference,
            price=_price_of(first),
            currency=first.currency,
            paid_attempt_id=first.paid_attempt_id,
            attempts=[_attempt_of(row) for row in rows if row.a_attempt_id is not None],
            owner_of_order_id=first.owner_of_order_id,
            owner_of_payment_hash=first.owner_of_payment_hash,
        )

    async def begin(
        self, connection: AsyncConnection, reference: str, price: Decimal, currency: str
    ) -> ReferenceRecord:
        """Insert the row of a reference unless it exists; lock it, and read it."""
        values = {"reference": reference, "price": f"{price:f}", "currency": currency}
        key = Key(reference, "reference")
        entry = None
        while entry is None:  # `prune` may delete the row before it is locked
            inserted = await execute(connection, self._insert_reference, values)
            entry = await self.entry(connection, key, lock=not inserted.rowcount)
        return entry

    @asynccontextmanager
    async def locking(
        self, key: Key, caller: object = None
    ) -> AsyncGenerator[LockedAttempt, None]:
        """Lock an attempt as `lock` does, in a transaction as `writing` opens it."""
        async with self.writing(caller) as connection:
            yield await self.lock(connection, key)

    async def lock(self, connection: AsyncConnection, key: Key) -> LockedAttempt:
        """Lock the reference of an attempt.

        Raises:
            UnknownOrderError: the store has no such attempt.
        """
        entry = await self.entry(connection, key, lock=True)
        attempt = None if entry is None else entry.find(key.value, key.by)
        if entry is None or attempt is None:
            what = "order" if key.by == "order_id" else "attempt"
            raise UnknownOrderError(f"the store has no {what} {shown(key.value)}")
        its_own = {None, attempt.attempt_id}
        return LockedAttempt(
            self,
            connection,
            entry,
            attempt,
            is_order_taken=entry.owner_of_order_id not in its_own,
            is_payment_hash_taken=entry.owner_of_payment_hash not in its_own,
        )

    async def set_paid_attempt(
        self, connection: AsyncConnection, paid: Attempt
    ) -> None:
        """Record that this attempt has paid its reference, if no other one has."""
        values = {"row_key": paid.reference, "paid_by": paid.attempt_id}
        if (await execute(connection, _SET_PAID, values)).rowcount != 1:
            raise _conflict(paid)

    async def plan_poll(self, attempt: Attempt, at: datetime | None = None) -> bool:
        """Set the time of the next poll, or now; return false if it has changed."""
        values = {
            "row_key": attempt.attempt_id,
            "planned_poll_at": attempt.next_poll_at,
            "due_at": at,
        }
        async with self.database.connect(writes=True) as connection:
            done = await execute_and_commit(connection, self._plan_poll, values)
        return done.rowcount == 1

    async def find(self, attempt_id: str) -> Snapshot:
        """Return the attempt with this id, if there is one, and the time."""
        found = await self._all(self._attempts.where(_a.attempt_id == attempt_id))
        found.readable()
        return found

    async def due(self, limit: int) -> Snapshot:
        """Return the attempts to poll, the most urgent first.

        An attempt is due as well if a clock that was ahead has delayed its poll.
        """
        due = self._attempts.where(_a.next_poll_at <= self._now)
        due = due.order_by(_a.next_poll_at, _a.attempt_id).limit(limit)
        urgent = await self._all(due)
        # Polled, or created, at a time in the future. Without an order: for one, SQLite
        # would read the whole table in that order.
        delayed = self._attempts.where(
            or_(_a.last_polled_at > self._soon, _a.created_at > self._soon),
            or_(_a.next_poll_at > self._soon, _a.next_poll_at.is_(None)),
            _a.state.in_([str(state) for state in REVOCABLE]),
            _a.created_here,
        )
        others = await self._all(delayed.limit(limit - len(urgent.attempts)))
        return Snapshot(
            max(urgent.now, others.now),
            [*urgent.attempts, *others.attempts],
            {**urgent.damaged, **others.damaged},
        )

    async def count_open(self) -> OrderCounts:
        """Count the orders that are open or need a person, each to `_MAX_COUNT`."""
        lag, row = await self._read_counts(
            *(_count(str(state), _a.state == str(state)) for state in _OPEN),
            *(_count(str(task), _a.attention == str(task)) for task in Attention),
        )
        return OrderCounts(
            orders={str(state): getattr(row, str(state)) for state in _OPEN},
            needs_review=getattr(row, str(Attention.REVIEW)),
            duplicates=getattr(row, str(Attention.REFUND)),
            lag_s=lag.total_seconds(),
        )

    async def of(self, reference: str) -> Sequence[Attempt]:
        """Return all attempts of a reference, newest first."""
        query = self._attempts.where(_a.reference == reference)
        return (await self._all(query.order_by(*_NEWEST_FIRST))).readable()

    async def newest(self, state: AttemptState | None, limit: int) -> Sequence[Attempt]:
        """Return the newest attempts, of one state if it is given."""
        query = self._attempts.order_by(*_NEWEST_FIRST).limit(limit)
        if state is not None:
            query = query.where(_a.state == str(state))
        return (await self._all(query)).readable()

    async def needing(self, attention: Attention, limit: int) -> Sequence[Attempt]:
        """Return the attempts that need a person, oldest first."""
        query = self._attempts.where(_a.attention == str(attention)).limit(limit)
        found = await self._all(query.order_by(_a.created_at, _a.attempt_id))
        return found.readable()

    async def backlog(self) -> tuple[timedelta, int, int]:
        """Return the lag of the polls, and the numbers of due polls and of reviews."""
        lag, row = await self._read_counts(
            _count("due", _a.next_poll_at <= self._now),
            _count("review", _a.attention == str(Attention.REVIEW)),
        )
        return lag, row.due, row.review

    async def _read_counts(self, *counts: Label[Any]) -> tuple[timedelta, Row[Any]]:
        """Return how long the most overdue attempt has been due, and the counts."""
        [row] = await self._read(select(*counts))
        due = self._attempts.where(_a.next_poll_at <= self._now)
        now, found, _ = await self._all(
            due.order_by(_a.next_poll_at).limit(_MAX_OVERDUE)
        )
        lags = (now - (due_since(attempt) or now) for attempt in found)
        return max(lags, default=timedelta(0)), row

    async def prune(self, older_than: timedelta, *, paid: bool) -> int:
        """Delete old references that are paid, or that are not; return their number.

        A reference is deleted with its attempts, if the last payment of each would have
        arrived `older_than` ago, and none is open or needs a person.
        """
        end = self.database.now(self._clock, -older_than)
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
        oldest = old.order_by(_r.created_at).limit(BATCH)
        pruned = 0
        # Until none is left: a batch has fewer rows if another transaction has one.
        while deleted := await self._prune_batch(oldest, unsettled):
            pruned += deleted
        return pruned

    async def _prune_batch(
        self, oldest: Select[tuple[str]], unsettled: Select[tuple[str]]
    ) -> int:
        async with self.database.begin() as connection:
            for statement in [_HOLD] if self.database.is_sqlite else []:
                await execute(connection, statement)  # locks all rows, before a read
            locking = oldest.with_for_update(skip_locked=True)
            found = {*(await execute(connection, locking)).scalars()}
            if not found:
                return 0
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
        others = await self._read(
            select(
                *(_a.order_id, _a.hinted_order_id, _a.state, _a.price, _a.currency),
                *(_a.created_at, _a.deadline),
            ).where(
                _a.created_at.between(first, last), _a.attempt_id != attempt.attempt_id
            )
        )
        return Neighbours(
            frozenset(one.order_id for one in others) - {None},
            any(_is_rival(one, attempt) for one in others),
            frozenset(one.hinted_order_id for one in others) - {None},
        )

    async def _all(self, query: Executable) -> Snapshot:
        rows = await self._read(query)
        now = rows[0].now if rows else _LONG_AGO
        read = [_read_attempt(row) for row in rows]
        damaged = {one.attempt_id: error for one, error in read if error is not None}
        return Snapshot(now, [attempt for attempt, _ in read], damaged)

    async def _read(self, query: Executable) -> Sequence[Row[Any]]:
        async with self.database.connect() as connection:
            return (await execute(connection, query)).all()


def _is_rival(other: Row[Any], attempt: Attempt) -> bool:
    """Return true if the order of another attempt may look like that of this one.

    A state or a price that cannot be read may be any.
    """
    price = _read_value("price", other.price)
    return (
        other.order_id is None
        and other.state not in _OWNS_NO_LISTED_ORDER
        and price in {None, attempt.price}
        and other.currency == attempt.currency
        and other.created_at <= attempt.deadline + _LATEST
        and attempt.created_at <= other.deadline + _LATEST
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
class LockedAttempt:
    """An attempt, in a transaction that holds the lock of its reference."""

    rows: Rows
    connection: AsyncConnection
    entry: ReferenceRecord
    attempt: Attempt
    #: True if the order of the `Key` belongs to another attempt.
    is_order_taken: bool = attrs.field(default=False, kw_only=True)
    #: True if another attempt's invoice has the payment hash of the `Key`.
    is_payment_hash_taken: bool = attrs.field(default=False, kw_only=True)

    async def move(self, *targets: AttemptState, **fields: object) -> Change:
        """Change the attempt's state to the first target that the table allows.

        The `fields` are written in any case. The next poll is scheduled again if the
        state changes or Aurpay was queried.

        Raises:
            OrderStoreError: another transaction has changed its state without the lock.
        """
        before = self.attempt
        allowed = {before.state, *MOVES[before.state]}
        state = next((one for one in targets if one in allowed), before.state)
        after = _evolve(before, state=state, **fields)
        due = next_poll(after, self.entry.now)
        is_rescheduled = (
            state is not before.state or due is None or "last_polled_at" in fields
        )
        if is_rescheduled and "next_poll_at" not in fields:
            after = _evolve(after, next_poll_at=due)
        old, new = row_of(before), row_of(after)
        changed = {name: value for name, value in new.items() if value != old[name]}
        if changed:
            row = {"row_key": before.attempt_id, "expected_state": str(before.state)}
            done = await execute(self.connection, _UPDATE, {**changed, **row})
            if done.rowcount != 1:
                raise _conflict(before)
        if changed.get("attention") == Attention.REVIEW:
            log_fields(_log, logging.WARNING, log_fields_of(after), _REVIEW)
        return Change(attempt=after, before=before.state)


@final
class Repository:
    """Client, tables, clock and gauges of an order store."""

    def __init__(self, client: AurpayClient, rows: Rows, clock: Clock) -> None:
        self.client, self.rows, self.clock = client, rows, clock
        self.gauges = OrderGauges(clock)
