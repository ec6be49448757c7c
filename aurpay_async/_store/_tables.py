"""The schema, as it is now; `migrations` has how it came to be so.

Times are milliseconds since 1970, so that no driver reads a zone into them. Prices are
texts, so that no digit is lost.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    MetaData,
    Table,
    Text,
)
from sqlalchemy import text as sql

#: All of it; for Alembic's ``target_metadata``.
metadata: Final = MetaData()

#: What was handled of an order's notifications, by its attempt_id.
callbacks: Final = Table(
    "aurpay_callbacks",
    metadata,
    Column("key", Text, primary_key=True),
    Column("handled", Text),
    Column("token", Text),
    Column("lease_until", BigInteger, nullable=False),
    Column("touched", BigInteger, nullable=False),
)

#: Of the inbox alone, for those who have no order store.
inbox_metadata: Final = MetaData()
callbacks.to_metadata(inbox_metadata)

#: What a shop wants to be paid for, by its own name for it.
references: Final = Table(
    "aurpay_references",
    metadata,
    Column("reference", Text, primary_key=True),
    Column("price", Text, nullable=False),
    Column("currency", Text, nullable=False),
    #: The attempt_id of the attempt whose payment counts.
    Column("settled_by", Text),
    Column("opened", BigInteger, nullable=False),
)

#: Each call that may have made an order, and what is known of that order.
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
    #: What the order was asked for with; as in `references`, unless a callback reported
    #: an order that this store did not create.
    Column("price", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("created_here", Boolean, nullable=False),
    #: No order is the order of two attempts.
    Column("order_id", Text),
    #: Of its invoice: a payment hash is paid once, so no two orders have the same.
    Column("payment_hash", Text),
    #: The check that its answer failed: ``UntrustedOrderError.check``.
    Column("failed_check", Text),
    #: The order that the body of a callback names. The body is not signed.
    Column("hinted", Text),
    #: Where it stands at the platform, as far as is known.
    Column("status", Text),
    #: ``LightningOrder.to_json()``.
    Column("kept", Text),
    #: Orders that fit and are not proven to be it: a JSON object of ids and statuses.
    Column("candidates", Text),
    Column("opened", BigInteger, nullable=False),
    #: When the call that it stands for is over, whatever became of it.
    Column("deadline", BigInteger, nullable=False),
    Column("sent", BigInteger),
    #: When the platform was last asked about it.
    Column("looked", BigInteger),
    #: When to ask next; empty if there is nothing to ask any more.
    Column("next_look", BigInteger),
    #: Until when its invoice, and a payment on its way, can count.
    Column("ends", BigInteger, nullable=False),
    Index("aurpay_attempts_order_id", "order_id", unique=True),
    Index("aurpay_attempts_payment_hash", "payment_hash", unique=True),
    Index("aurpay_attempts_reference", "reference"),
    Index("aurpay_attempts_state", "state"),
    Index("aurpay_attempts_next_look", "next_look"),
    Index("aurpay_attempts_looked", "looked"),
    Index("aurpay_attempts_opened", "opened"),
)

#: What holds the place of a reference: one at a time, whoever writes.
Index(
    "aurpay_attempts_one_at_a_time",
    attempts.c.reference,
    unique=True,
    sqlite_where=sql("state IN ('creating', 'payable')"),
    postgresql_where=sql("state IN ('creating', 'payable')"),
)
