"""Tables of the order store and the inbox.

Prices are stored as strings, because SQLite has no exact decimal type.
"""

from __future__ import annotations

from typing import Final

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

#: For pruning: paid references are kept for longer than others.
Index(
    "aurpay_references_unpaid",
    references.c.created_at,
    sqlite_where=references.c.paid_attempt_id.is_(None),
    postgresql_where=references.c.paid_attempt_id.is_(None),
)
Index(
    "aurpay_references_paid",
    references.c.created_at,
    sqlite_where=references.c.paid_attempt_id.is_not(None),
    postgresql_where=references.c.paid_attempt_id.is_not(None),
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
    #: Aurpay's id of the order; unique.
    Column("order_id", Text),
    #: The payment hash of its invoice; unique, because each hash can be paid only once.
    Column("payment_hash", Text),
    #: The check that its answer failed: ``UntrustedOrderError.check``.
    Column("failed_check", Text),
    #: The order that the body of a callback names. The body is not signed.
    Column("hinted_order_id", Text),
    #: The order's status at Aurpay when it was last queried.
    Column("status", Text),
    #: ``LightningOrder.to_json()``.
    Column("order_json", Text),
    #: Orders that match and are not proven to be the attempt's: a JSON object of ids
    #: and statuses.
    Column("candidates", Text),
    #: What a person has to do: ``review``, ``refund``, or NULL.
    Column("attention", Text),
    Column("created_at", UtcDateTime, nullable=False),
    #: When the call has ended, with or without an answer.
    Column("deadline", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    #: When Aurpay was last queried about it.
    Column("last_polled_at", UtcDateTime),
    #: When the order is polled next; NULL if it is not polled any more.
    Column("next_poll_at", UtcDateTime),
    #: The end of the period in which a payment can arrive.
    Column("payable_until", UtcDateTime, nullable=False),
    Index("aurpay_attempts_order_id", "order_id", unique=True),
    Index("aurpay_attempts_payment_hash", "payment_hash", unique=True),
    Index("aurpay_attempts_reference", "reference"),
    Index("aurpay_attempts_state", "state", "created_at", "attempt_id"),
    Index("aurpay_attempts_next_poll_at", "next_poll_at"),
    Index("aurpay_attempts_last_polled_at", "last_polled_at"),
    Index("aurpay_attempts_created_at", "created_at", "attempt_id"),
)

#: For each table, a column that only unreleased versions created.
OLD_COLUMNS: Final = {
    "aurpay_callbacks": "touched",
    "aurpay_references": "opened",
    "aurpay_attempts": "next_look",
}

#: Few rows need a person, so this index stays small, and a planner with statistics
#: about the table uses it as well.
Index(
    "aurpay_attempts_attention",
    attempts.c.attention,
    attempts.c.created_at,
    attempts.c.attempt_id,
    sqlite_where=attempts.c.attention.is_not(None),
    postgresql_where=attempts.c.attention.is_not(None),
)

#: A reference has at most one active attempt.
Index(
    "aurpay_attempts_one_active",
    attempts.c.reference,
    unique=True,
    sqlite_where=sql("state IN ('creating', 'payable')"),
    postgresql_where=sql("state IN ('creating', 'payable')"),
)
