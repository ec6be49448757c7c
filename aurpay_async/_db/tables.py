"""Tables of the order store and the inbox.

Prices are stored as strings, because SQLite has no exact decimal type. The columns of
`attempts` are the fields of `orders.Attempt`, which documents them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    MetaData,
    Table,
    Text,
)
from sqlalchemy import text as sql

from .engine import UtcDateTime

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, TextClause

#: All tables; for Alembic's ``target_metadata``.
metadata: Final = MetaData()

#: The inbox: the notifications of an order that were handled, by its attempt_id.
callbacks: Final = Table(
    "aurpay_callbacks",
    metadata,
    Column("key", Text, primary_key=True),
    Column("handled", Text),
    Column("token", Text),
    Column("lease_until", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("aurpay_callbacks_updated_at", "updated_at"),
)

#: The table of the inbox alone, for use without an order store.
inbox_metadata: Final = MetaData()

callbacks.to_metadata(inbox_metadata)

#: Purchases, by the merchant's own name for each.
references: Final = Table(
    "aurpay_references",
    metadata,
    Column("reference", Text, primary_key=True),
    Column("price", Text, nullable=False),
    Column("currency", Text, nullable=False),
    #: The id of the attempt that paid the reference.
    Column("paid_attempt_id", Text),
    Column("created_at", UtcDateTime, nullable=False),
)

#: Calls that may have created an order, and the data of that order.
attempts: Final = Table(
    "aurpay_attempts",
    metadata,
    Column("attempt_id", Text, primary_key=True),
    Column(
        "reference",
        Text,
        ForeignKey("aurpay_references.reference", name="aurpay_attempts_of_reference"),
        nullable=False,
    ),
    Column("state", Text, nullable=False),
    #: Price and currency of the request; as in `references`, unless a callback reported
    #: an order that this store did not create.
    Column("price", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("created_here", Boolean, nullable=False),
    Column("order_id", Text),
    #: Unique, because each hash can be paid only once.
    Column("payment_hash", Text),
    Column("failed_check", Text),
    Column("hinted_order_id", Text),
    Column("status", Text),
    #: ``LightningOrder.to_json()``.
    Column("order_json", Text),
    #: A JSON object of ids and statuses.
    Column("candidates", Text),
    #: What a person has to do: ``review``, ``refund``, or NULL.
    Column("attention", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("deadline", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("last_polled_at", UtcDateTime),
    Column("next_poll_at", UtcDateTime),
    Column("payable_until", UtcDateTime, nullable=False),
    Index("aurpay_attempts_order_id", "order_id", unique=True),
    Index("aurpay_attempts_payment_hash", "payment_hash", unique=True),
    Index("aurpay_attempts_reference", "reference"),
    Index("aurpay_attempts_state", "state", "created_at", "attempt_id"),
    Index("aurpay_attempts_next_poll_at", "next_poll_at"),
    Index("aurpay_attempts_last_polled_at", "last_polled_at"),
    Index("aurpay_attempts_created_at", "created_at", "attempt_id"),
)


def _partial_index(
    name: str,
    *columns: Column[object],
    where: ColumnElement[bool] | TextClause,
    unique: bool = False,
) -> None:
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


_r, _a = references.c, attempts.c
# For pruning: paid references are kept for longer than others.
_paid = _r.paid_attempt_id
_partial_index("aurpay_references_unpaid", _r.created_at, where=_paid.is_(None))
_partial_index("aurpay_references_paid", _r.created_at, where=_paid.is_not(None))
# Few rows need a person, so this index stays small, and a planner with statistics about
# the table uses it as well.
_partial_index(
    "aurpay_attempts_attention",
    *(_a.attention, _a.created_at, _a.attempt_id),
    where=_a.attention.is_not(None),
)
# A reference has at most one active attempt.
_partial_index(
    "aurpay_attempts_one_active",
    _a.reference,
    where=sql("state IN ('creating', 'payable')"),
    unique=True,
)
