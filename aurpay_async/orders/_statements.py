"""The SQL statements of the order store, built once.

Building a statement takes longer than executing it on SQLite. The parameters of an
UPDATE have other names than the columns, because it takes the columns to write from its
parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, final

from sqlalchemy import (
    Integer,
    Text,
    and_,
    bindparam,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)

from .._db.engine import UtcDateTime
from .._db.tables import attempts, references
from ._models import REVOCABLE, AttemptState, Attention
from ._planner import DONE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, ScalarSelect, Select
    from sqlalchemy.dialects import postgresql, sqlite

_a: Final = attempts.c

_r: Final = references.c

_KEY: Final = bindparam("row_key", type_=Text)
_EXPECTED: Final = bindparam("expected_state", type_=Text)
_PLANNED: Final = bindparam("planned_poll_at", type_=UtcDateTime)
_LIMIT: Final = bindparam("row_limit", type_=Integer)

#: The columns of an attempt in a SELECT that may read those of a reference as well.
_LABELED: Final = [column.label(f"a_{column.name}") for column in _a]

By = Literal["reference", "attempt_id", "order_id"]

_other: Final = attempts.alias("other").c


def _reference_with(column: ColumnElement[str]) -> ColumnElement[str]:
    return select(_other.reference).where(column == _KEY).scalar_subquery()


_REFERENCES: Final[Mapping[By, ColumnElement[str]]] = {
    "reference": _KEY,
    "attempt_id": _reference_with(_other.attempt_id),
    "order_id": _reference_with(_other.order_id),
}

LOCKS: Final = {
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

UPDATE: Final = update(attempts).where(_a.attempt_id == _KEY, _a.state == _EXPECTED)

SET_PAID: Final = (
    update(references)
    .where(_r.reference == _KEY, _r.paid_attempt_id.is_(None))
    .values(paid_attempt_id=bindparam("paid_by"))
)

#: SQLite takes the write lock at the first write. So a transaction that would begin
#: with a read begins with one that changes no row, and its reads cannot become stale.
HOLD: Final = update(references).where(_r.reference == "").values(price=_r.price)

_FIRST: Final = bindparam("first", type_=UtcDateTime)
_LAST: Final = bindparam("last", type_=UtcDateTime)

NEIGHBOURS: Final = select(
    *(_a.order_id, _a.hinted_order_id, _a.state, _a.price, _a.currency),
    *(_a.created_at, _a.deadline),
).where(_a.created_at.between(_FIRST, _LAST), _a.attempt_id != _KEY)

#: The states that `count_open` counts; the number of other attempts only grows.
OPEN: Final = tuple(state for state in AttemptState if state not in DONE)

#: References that `prune` deletes in one transaction: callbacks wait for milliseconds.
BATCH: Final = 500


def _count(which: ColumnElement[bool]) -> ScalarSelect[int]:
    few = select(_a.attempt_id).where(which).limit(_LIMIT).subquery()
    return select(func.count()).select_from(few).scalar_subquery()


@final
class Statements:
    """The statements that contain the time, which depends on the clock."""

    def __init__(
        self,
        new: postgresql.Insert | sqlite.Insert,
        now: ColumnElement[datetime],
        soon: ColumnElement[datetime],
    ) -> None:
        """Build the statements; `new` is the INSERT of the dialect.

        Only a clock that is ahead has reached the time `soon`.
        """
        self._build_reads(now, soon)
        self._build_counts(now)
        #: The row of a reference, unless it exists.
        self.begin = new.values(created_at=now).on_conflict_do_nothing()
        is_planned = _a.next_poll_at.is_not_distinct_from(_PLANNED)
        due_at = func.coalesce(bindparam("due_at", type_=UtcDateTime), now)
        this = update(attempts).where(_a.attempt_id == _KEY, is_planned)
        self.plan_poll = this.values(next_poll_at=due_at)

    def _build_reads(
        self, now: ColumnElement[datetime], soon: ColumnElement[datetime]
    ) -> None:
        time = now.label("now")
        newest_first = (_a.created_at.desc(), _a.attempt_id.desc())
        entry = (
            select(references, time, *_LABELED, *_OWNERS)
            .select_from(references.outerjoin(attempts))
            .order_by(*newest_first)
        )
        #: The row of a reference, and its attempts.
        self.entries = {
            by: entry.where(_r.reference == reference)
            for by, reference in _REFERENCES.items()
        }
        read = select(time, *_LABELED)
        self.one = read.where(_a.attempt_id == _KEY)
        self.newest = read.order_by(*newest_first).limit(_LIMIT)
        self.of_reference = read.order_by(*newest_first).where(_a.reference == _KEY)
        self.needing = read.order_by(_a.created_at, _a.attempt_id).limit(_LIMIT)
        due = read.where(_a.next_poll_at <= now)
        self.due = due.order_by(_a.next_poll_at, _a.attempt_id).limit(_LIMIT)
        #: Polled, or created, at a time in the future. Without an order: for one,
        #: SQLite would read the whole table in that order.
        self.delayed = read.where(
            or_(_a.last_polled_at > soon, _a.created_at > soon),
            or_(_a.next_poll_at > soon, _a.next_poll_at.is_(None)),
            _a.state.in_([str(state) for state in REVOCABLE]),
            _a.created_here,
        ).limit(_LIMIT)

    def _build_counts(self, now: ColumnElement[datetime]) -> None:
        time = now.label("now")
        counted = {str(state): _a.state == str(state) for state in OPEN}
        counted |= {str(task): _a.attention == str(task) for task in Attention}
        columns = [_count(which).label(name) for name, which in counted.items()]
        next_poll_at = select(func.min(_a.next_poll_at)).scalar_subquery().label("next")
        self.counts = select(time, next_poll_at, *columns)
        due = _count(_a.next_poll_at <= now).label("due")
        review = _count(_a.attention == str(Attention.REVIEW)).label("review")
        self.backlog = select(time, next_poll_at, due, review)


def pruning(
    end: ColumnElement[datetime], *, paid: bool
) -> tuple[Select[tuple[str]], Select[tuple[str]]]:
    """Return statements that find references to delete, and attempts to keep.

    Before `end`, the last payment of each order would have arrived.
    """
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
    return oldest, unsettled
